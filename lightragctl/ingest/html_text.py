"""The text of a web page as Markdown. Pure.

A parser of HTML5 builds the tree as browsers do, with the tags that a page may leave out; what a reader of the page
does not see is left out and named.
"""

import copy
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from bs4 import BeautifulSoup
from bs4.element import Comment, NavigableString, PreformattedString, Tag
from markdownify import MarkdownConverter
from selectolax.lexbor import LexborHTMLParser, LexborNode

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.extraction import Extracted, subscript, superscript
from lightragctl.ingest.formulas import mathml_text

_SCRIPTS = ("script", "style", "link", "meta", "base", "metadata")
"""No text of the page, whatever stands in them."""

_UNSEEN = {
    "nav": "navigation",
    "noscript": "noscript text",
    "template": "templates",
    "noframes": "noframes text",
    "noembed": "noembed text",
    "datalist": "hidden text",
}
"""Omitted elements and their descriptions."""

_BLOCKS = (
    *("address", "center", "details", "dialog", "fieldset", "figure", "footer", "form", "header", "hgroup", "legend"),
    *("main", "aside", "menu", "optgroup", "option", "search", "select", "summary", "textarea", "figcaption"),
)
"""What stands on lines of its own and is not known as such to the writer of Markdown."""
_HIDDEN_STYLE = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))", re.I)
_BLOCK_STYLE = re.compile(r"(?:^|;)\s*display\s*:\s*(?:block|flex|grid|table|list-item|flow-root)", re.I)
_SCRIPT_STYLE = re.compile(r"(?:^|;)\s*vertical-align\s*:\s*(super|sub)\b", re.I)
_UNSHOWN_INPUTS = frozenset({"hidden", "password", "file", "color", "range"})
_TABLE_PARTS = ("caption", "thead", "tbody", "tfoot", "tr", "td", "th")
_MOST_DEPTH = 300  # elements within each other; browsers stop at 512, and the stack holds some 450
_MOST_COLUMNS = 1000  # what browsers take of a colspan


@dataclass(frozen=True)
class _PageText:
    """`left_out` has its words as keys, in the order in which they were met."""

    soup: BeautifulSoup
    title: str
    left_out: dict[str, None]


class _Writer(MarkdownConverter):
    """Markdown, with the meaning that is in the height of characters."""

    def convert_sup(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return superscript(text)

    def convert_sub(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return subscript(text)

    def convert_td(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return str(MarkdownConverter.convert_td(self, el, text.replace("|", r"\|"), parent_tags))  # type: ignore[attr-defined]

    def convert_th(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return str(MarkdownConverter.convert_th(self, el, text.replace("|", r"\|"), parent_tags))  # type: ignore[attr-defined]

    def convert_rt(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return f"({text.strip()})" if text.strip() else ""


def html_to_markdown(html: str) -> Extracted:
    """The page's title and text as Markdown; images are their description.

    Raises:
        LightragctlError: it is nested too deeply.
    """
    page = _seen(html)
    _reshape(page.soup)
    text = _markdown(page.soup)
    shown = {" ".join(heading.get_text().split()) for heading in page.soup(["h1", "h2"])}
    if page.title and text.strip() and page.title not in shown:
        text = f"# {page.title}\n\n{text}"
    return Extracted(text, tuple(page.left_out))


def _seen(html: str) -> _PageText:
    """The page without what a reader does not see, the pages that it carries in frames in their places."""
    soup = BeautifulSoup(_normal_form(html), "html.parser")
    head = soup.head
    title = " ".join(head.title.get_text().split()) if head and head.title else ""
    left_out = dict.fromkeys(_drop_unseen(soup))
    if head:
        head.decompose()
    for frame in soup("iframe"):
        inner = _seen(str(frame.get("srcdoc", "")))
        left_out |= inner.left_out
        frame.name, frame.attrs = "div", {}
        frame.clear()
        frame.extend([child.extract() for child in list(inner.soup.body or ())])
    return _PageText(soup, title, left_out)


def _markdown(soup: BeautifulSoup) -> str:
    options: dict[str, Any] = {"heading_style": "ATX", "escape_asterisks": False, "escape_underscores": False}
    return str(_Writer(**options).convert_soup(soup))


def _normal_form(html: str) -> str:
    """The page with all implied tags, and nothing in it that a parser reads as anything but elements and text."""
    page = LexborHTMLParser(html)
    _check_depth(page.root)
    for node in page.css("xmp, listing, plaintext"):
        lines = page.create_node("pre")
        lines.insert_child(node.text() or "")
        node.replace_with(lines)
    return page.html or ""


def _check_depth(root: LexborNode | None) -> None:
    """Refuse what would exhaust the stack, or the time: some steps go up from each element to the root."""
    level = [root] if root else []
    for _ in range(_MOST_DEPTH):
        level = [child for node in level for child in node.iter()]
        if not level:
            return
    raise LightragctlError("is HTML with too deeply nested elements")


def _drop_unseen(soup: BeautifulSoup) -> Iterator[str]:
    """Take out what a reader does not see; the names of what held text."""
    for tag in soup(_SCRIPTS):
        tag.decompose()
    for text in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        if isinstance(text, Comment) and re.search(r"\w", text):
            yield "comments"
        text.extract()  # and the doctype, processing instructions
    for tag in soup.find_all(True):
        if tag.decomposed or not isinstance(tag, Tag):
            continue
        name = _UNSEEN.get(tag.name) or ("hidden text" if _is_hidden(tag) else "")
        if name:
            if re.search(r"\w", _all_text(tag)):
                yield name
            tag.decompose()


def _all_text(tag: Tag) -> str:
    """All characters below a tag; `get_text` passes over templates and readings."""
    return " ".join(str(text).strip() for text in tag.find_all(string=True))


def _is_hidden(tag: Tag) -> bool:
    if tag.name == "dialog" and not tag.has_attr("open"):
        return True
    hidden = tag.has_attr("hidden") and str(tag["hidden"]).lower() != "until-found"
    return hidden or bool(_HIDDEN_STYLE.search(str(tag.get("style", ""))))


def _reshape(soup: BeautifulSoup) -> None:
    """Turn what the writer of Markdown does not know into what it knows."""
    _reshape_embedded(soup)
    for link in soup("a"):
        link.attrs.pop("title", None)
        if not str(link.get("href", "")).startswith(("http://", "https://", "mailto:")):
            link.unwrap()  # an address inside the site leads nowhere from here
    _reshape_inline(soup)
    for table in soup("table"):
        if table.parent is not None:
            _reshape_table(table)
    for tag in soup.find_all(_is_block):
        tag.name = "div"


def _reshape_embedded(soup: BeautifulSoup) -> None:
    for math in soup("math"):
        math.replace_with(_formula(math))
    for svg in soup("svg"):
        svg.name = "span"
        for part in svg(["title", "desc", "text", "foreignobject"]):
            part.name = "div"
    for image in soup(["img", "area"]):
        image.replace_with(str(image.get("alt") or image.get("title") or ""))
    for field in soup("input"):
        field.replace_with(_field(field))


def _reshape_inline(soup: BeautifulSoup) -> None:
    for tag in soup(["rp"]):
        tag.decompose()
    for tag in soup(["wbr"]):
        tag.unwrap()
    for short in soup(["abbr", "acronym"]):
        if short.get("title"):
            short.append(f" ({short['title']})")
    for group in soup("optgroup"):
        group.insert(0, str(group.get("label") or ""))
    for tag in soup(["button", "label", "output"]):
        tag.insert_before(" ")
        tag.insert_after(" ")
    for tag in soup.find_all(style=_SCRIPT_STYLE):
        found = _SCRIPT_STYLE.search(str(tag["style"]))
        tag.name = "sup" if found and found[1].lower() == "super" else "sub"


def _is_block(tag: Tag) -> bool:
    """Whether an element ends the line. One of an unknown name does where no text stands beside it."""
    if tag.name in _BLOCKS or _BLOCK_STYLE.search(str(tag.get("style", ""))):
        return tag.name not in ("table", "ul", "ol", "li", "pre", "p", "blockquote")
    if "-" not in tag.name:
        return False
    beside = tag.parent.children if tag.parent else ()
    return not any(isinstance(one, NavigableString) and one.strip() for one in beside)


def _formula(math: Tag) -> str:
    try:
        return mathml_text(ElementTree.fromstring(str(math)))
    except ElementTree.ParseError:
        return _all_text(math)


def _field(field: Tag) -> str:
    """What a form field shows."""
    kind = str(field.get("type", "text")).lower()
    if kind in ("checkbox", "radio"):
        return "[x] " if field.has_attr("checked") else "[ ] "
    if kind == "image":
        return str(field.get("alt") or "")
    return "" if kind in _UNSHOWN_INPUTS else f" {field.get('value') or ''} "


def _reshape_table(table: Tag) -> None:
    """A table that lays out the page gives way to what it holds; one within a cell becomes a line of that cell."""
    if _lays_out(table):
        for part in [part for part in table(_TABLE_PARTS) if part.find_parent("table") is table]:
            part.name, part.attrs = "div", {}
        table.name = "div"
        return
    for inner in table("table", recursive=True):
        if not inner.decomposed:
            rows = [", ".join(_all_text(cell) for cell in row(["td", "th"])) for row in inner("tr")]
            inner.replace_with(f" {'; '.join(rows)} ")
    if table.find(rowspan=True):
        _repeat_spanning_cells(table)


def _lays_out(table: Tag) -> bool:
    """Whether a table is no table of data: it holds others, and little else or only one row or column of them."""
    inner = [one for one in table("table") if one.find_parent("table") is table]
    if not inner:
        return table.get("role") in ("presentation", "none")
    rows = [row for row in table("tr") if row.find_parent("table") is table]
    widest = max((len(row.find_all(["td", "th"], recursive=False)) for row in rows), default=0)
    inside = sum(len(_all_text(one)) for one in inner)
    return len(rows) == 1 or widest == 1 or inside * 2 > len(_all_text(table))


def _repeat_spanning_cells(table: Tag) -> None:
    """Repeat a cell in each row that it reaches into."""
    reaching: dict[int, tuple[int, Tag]] = {}
    for row in table("tr"):
        cells = deque(row.find_all(["td", "th"], recursive=False))
        column, placed = 0, list[Tag]()
        while cells or any(at >= column for at in reaching):
            if not cells:
                column = min(at for at in reaching if at >= column)
            if column in reaching:
                rows, cell = reaching.pop(column)
                cell = copy.copy(cell)
            else:
                cell = cells.popleft()
                rows = _span(cell, "rowspan")
            if rows > 1:
                reaching[column] = (rows - 1, cell)
            placed.append(cell)
            column += _span(cell, "colspan")
        for cell in placed:
            row.append(cell.extract())


def _span(cell: Tag, name: str) -> int:
    value = str(cell.get(name, "1"))
    return min(int(value), _MOST_COLUMNS) if value.isdecimal() and int(value) else 1
