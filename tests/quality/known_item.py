"""Known-item questions from the Debian FAQ, in English and in Chinese, and how well a search answers them.

The FAQ's chapters are sections whose headings are questions; the body of the section is the answer. One section is one
document. Reads files, and fetches the two Debian packages with apt (no root, nothing installed); the rest is pure.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from markdownify import markdownify

PACKAGES = {"en": "debian-faq", "zh": "debian-faq-zh-cn"}
CHAPTERS = {"en": "*.en.html", "zh": "*.zh-cn.html"}  # the packages also hold links of other names to the same files
FETCH_TIMEOUT_S = 120
SHORTEST_ANSWER = 40  # characters; shorter sections are nothing but a pointer to somewhere else
NUMBER = re.compile(r"^\d+(\.\d+)*\.\s*")


class FaqMissingError(Exception):
    """The packages cannot be had here; the message says why."""


@dataclass(frozen=True)
class Section:
    """A section of the FAQ: `key` is the same in every language."""

    language: str
    key: str
    heading: str
    body: str

    @property
    def name(self) -> str:
        """The name of the file that holds this section."""
        return f"{self.language}-{self.key}.md"


@dataclass(frozen=True)
class Question:
    """A question and the name of the one file that answers it."""

    language: str
    text: str
    answer: str


@dataclass(frozen=True)
class Hits:
    """How many of `questions` had the answer first (`at_1`), or among the first five (`at_5`)."""

    questions: int
    at_1: int
    at_5: int
    missed: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.questions} questions, hit@1 {self.ratio_at_1:.3f}, hit@5 {self.ratio_at_5:.3f}"

    @property
    def ratio_at_1(self) -> float:
        """hit@1, 0 to 1."""
        return self.at_1 / self.questions

    @property
    def ratio_at_5(self) -> float:
        """hit@5, 0 to 1."""
        return self.at_5 / self.questions


def fetch_faq(folder: Path) -> Path:
    """The folder, with both packages unpacked in it; fetched only when they are not there yet.

    Raises:
        FaqMissingError: no apt, or no package mirror within reach.
    """
    for package in PACKAGES.values():
        fetch_package(package, folder)
    return folder


def fetch_package(package: str, folder: Path) -> Path:
    """The folder that a Debian package is unpacked in, below `folder`."""
    target = folder / package
    if target.is_dir():
        return target
    unpacked = folder / f"{package}.part"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir(parents=True)
    _run(["apt-get", "download", package], unpacked)
    _run(["dpkg-deb", "-x", str(next(unpacked.glob("*.deb"))), str(unpacked)], unpacked)
    return unpacked.rename(target)


def read_faq(folder: Path) -> list[Section]:
    """All sections of the unpacked packages, in the order of the files."""
    sections: list[Section] = []
    for language, package in PACKAGES.items():
        for path in sorted((folder / package).rglob(CHAPTERS[language])):
            sections += parse_chapter(path.read_text("utf-8"), language)
    return sections


def parse_chapter(html: str, language: str) -> list[Section]:
    """The sections of one chapter, each without the sections inside it."""
    soup = BeautifulSoup(html, "html.parser")
    for reference in soup.select("a.xref"):  # they quote the heading of the section they lead to
        reference.replace_with(re.split(r"[,，“]", reference.get_text())[0])
    return [_section(tag, language) for tag in reversed(soup.select("div.section"))][::-1]


def questions_of(sections: Iterable[Section]) -> list[Question]:
    """The sections whose heading asks something and whose body says something."""
    return [
        Question(section.language, section.heading, section.name)
        for section in sections
        if re.search(r"[?？]", section.heading) and len(section.body) >= SHORTEST_ANSWER
    ]


def write_sections(sections: Iterable[Section], folder: Path, *, with_heading: bool) -> list[Path]:
    """Write one Markdown file per section; without headings no file holds the words of its question."""
    paths = []
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        if not section.body:
            continue
        heading = f"# {section.heading}\n\n" if with_heading else ""
        path = folder / section.name
        path.write_text(f"{heading}{section.body}\n", "utf-8")
        paths.append(path)
    return paths


def evaluate(retrieve: Callable[[str], Sequence[str]], questions: Iterable[Question]) -> dict[str, Hits]:
    """Hits per language.

    Args:
        retrieve: gives the sources of the passages found for a question, best first (paths or file names).
    """
    ranks: dict[str, list[tuple[Question, int | None]]] = {}
    for question in questions:
        names = [source.rsplit("/", 1)[-1] for source in retrieve(question.text)]
        rank = names.index(question.answer) if question.answer in names else None
        ranks.setdefault(question.language, []).append((question, rank))
    return {language: _hits(ranked) for language, ranked in ranks.items()}


def _hits(ranked: list[tuple[Question, int | None]]) -> Hits:
    at_1 = sum(rank == 0 for _, rank in ranked)
    at_5 = sum(rank is not None and rank < 5 for _, rank in ranked)
    missed = tuple(question.text for question, rank in ranked if rank is None or rank >= 5)
    return Hits(len(ranked), at_1, at_5, missed)


def _section(tag: Tag, language: str) -> Section:
    """The section of `tag`, which is taken out of the tree: call it for inner sections first."""
    title = tag.select_one(".title")
    assert title is not None
    anchor = title.select_one("a[id]")
    assert anchor is not None
    key = str(anchor["id"])
    heading = NUMBER.sub("", " ".join(title.get_text().split()))
    tag.extract()
    titlepage = tag.select_one("div.titlepage")
    assert titlepage is not None
    titlepage.decompose()
    body = markdownify(str(tag), heading_style="ATX").strip()
    return Section(language, key, heading, body)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S)
    except FileNotFoundError as error:
        raise FaqMissingError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise FaqMissingError(f"{' '.join(command)} took longer than {FETCH_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        raise FaqMissingError(f"{' '.join(command)}: {error.stderr.strip()[-300:]}") from error
