"""The text of a Word document as Markdown. Pure.

The library that reads the document knows neither formulas nor headers nor what a style hides, so its parts are first
rewritten into what it knows; what has no place in a text is left out and named.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers.expat import ExpatError

import mammoth

from lightragctl.core.errors import LightragctlError
from lightragctl.ingest.extraction import Extracted
from lightragctl.ingest.formulas import omml_text
from lightragctl.ingest.html_text import html_to_markdown

_STORY = re.compile(r"word/(document|footnotes|endnotes)\d*\.xml")
_MARGIN = re.compile(r"word/(header|footer)\d*\.xml")
_STYLES = re.compile(r"word/styles\d*\.xml")
_NAMED_PARTS = (
    (re.compile(r"word/comments\d*\.xml"), "comments"),
    (re.compile(r"word/diagrams/data\d*\.xml"), "SmartArt"),
    (re.compile(r"word/charts/chart\d*\.xml"), "charts"),
)
"""Parts that are omitted if they contain text."""
_EMBEDDED = re.compile(r"word/embeddings/|word/afchunk", re.I)

_WORD = (
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
)
_VML = "urn:schemas-microsoft-com:vml"
_RAISED_HALF_POINTS = 4  # less is a correction of the eye
_OFF = ("0", "false", "off", "none")

_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(ExpatError, ElementTree.ParseError, KeyError, ValueError, AttributeError, IndexError),
    RuntimeError,  # zipfile's word for an encrypted part
)
"""Exceptions of the readers for a corrupt file."""

_READ = frozenset(
    {
        *("document", "body", "footnotes", "footnote", "endnotes", "endnote", "txbxContent", "Fallback"),
        *("p", "r", "t", "tbl", "tr", "tc", "hyperlink", "smartTag", "customXml", "sdt", "sdtContent"),
        *("ins", "moveTo", "del", "moveFrom", "delText", "fldChar", "instrText", "object", "pict", "drawing"),
        "AlternateContent",
    }
)
"""Elements that hold text and that the library reads, or leaves out for a good reason; others are opened up."""


@dataclass
class _Rewriting:
    """What is known of the styles, and what was left out so far."""

    word: str
    scripts: Mapping[str, str]
    hidden: frozenset[str]
    left_out: dict[str, None] = field(default_factory=dict)

    def name(self, local: str) -> str:
        return f"{{{self.word}}}{local}"

    def make(self, local: str, *children: Element, text: str = "") -> Element:
        element = Element(self.name(local))
        element.text = text or None
        element.extend(children)
        return element

    def text(self, text: str) -> Element:
        element = self.make("t", text=text)
        element.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
        return element


def docx_to_markdown(data: bytes, most_bytes: int) -> Extracted:
    """The text of a Word document: headings, lists, tables, notes; page headers before it and footers after it.

    Raises:
        LightragctlError: it is no such document, or one that unpacks to more than `most_bytes`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked_bytes = sum(part.file_size for part in archive.infolist())
            if unpacked_bytes > most_bytes:
                raise LightragctlError(f"unpacks to {unpacked_bytes:,} bytes, more than {most_bytes:,}", "split it")
            parts = {name: archive.read(name) for name in archive.namelist()}
        rewritten, left_out = _rewritten(parts)
        html = mammoth.convert_to_html(rewritten, convert_image=mammoth.images.img_element(lambda image: {}))
    except RecursionError as error:
        raise LightragctlError("is a Word document with too deeply nested elements") from error
    except _BROKEN as error:
        raise LightragctlError("is not a readable Word document (.docx)") from error
    if any("w:sym" in message.message for message in html.messages):
        left_out = [*left_out, "symbols of an unknown font"]
    text = html_to_markdown(html.value)
    return Extracted(text.text, tuple(dict.fromkeys([*left_out, *text.left_out])))


def _rewritten(parts: Mapping[str, bytes]) -> tuple[io.BytesIO, list[str]]:
    """The document in what the library knows, and what was left out."""
    stories = {name: ElementTree.fromstring(parts[name]) for name in parts if _STORY.fullmatch(name)}
    rewriting = _rewriting(parts, stories.values())
    for name, root in stories.items():
        _rewrite(root, rewriting)
        if name.startswith("word/document"):
            _add_margins(root, parts, rewriting)
    left_out = [*rewriting.left_out, *_named_parts(parts)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, ElementTree.tostring(stories[name]) if name in stories else content)
    file.seek(0)
    return file, left_out


def _rewriting(parts: Mapping[str, bytes], stories: Iterable[Element]) -> _Rewriting:
    word = next((uri for root in stories for uri in _WORD if root.tag.startswith(f"{{{uri}}}")), _WORD[0])
    styles = [ElementTree.fromstring(parts[name]) for name in parts if _STYLES.fullmatch(name)]
    known = {one.get(f"{{{word}}}styleId", ""): one for root in styles for one in root.findall(f"{{{word}}}style")}
    scripts, hidden = dict[str, str](), set[str]()
    for style in known:
        for look in _looks(style, known, word):
            script = _value(look, f"{{{word}}}vertAlign")
            if script and style not in scripts:
                scripts[style] = script
            if _is_on(look, f"{{{word}}}vanish"):
                hidden.add(style)
    return _Rewriting(word, scripts, frozenset(hidden))


def _looks(style: str, known: Mapping[str, Element], word: str) -> Iterator[Element]:
    """How a style writes its characters, then the one that it is based on, and so on."""
    seen = set[str]()
    while style in known and style not in seen:
        seen.add(style)
        look = known[style].find(f"{{{word}}}rPr")
        if look is not None:
            yield look
        style = _value(known[style], f"{{{word}}}basedOn")


def _rewrite(parent: Element, rewriting: _Rewriting, paragraph_style: str = "") -> None:
    """Rewrite what is below `parent`, in place."""
    if parent.tag == rewriting.name("p"):
        look = parent.find(rewriting.name("pPr"))
        paragraph_style = "" if look is None else _value(look, rewriting.name("pStyle"))
    children = [new for child in parent for new in _rewritten_element(child, rewriting, paragraph_style)]
    parent[:] = children


def _rewritten_element(child: Element, rewriting: _Rewriting, paragraph_style: str) -> list[Element]:
    local = _local(child)
    if local in ("del", "moveFrom"):
        if local == "del" and any(_local(one) == "delText" and (one.text or "").strip() for one in child.iter()):
            rewriting.left_out["deleted text"] = None
        return [child]
    if local in _REPLACED:
        return _REPLACED[local](child, rewriting)
    if local == "AlternateContent":
        child = _alternative(child)
    if local == "r" and _is_hidden(child, rewriting, paragraph_style):
        if _shown(child).strip():
            rewriting.left_out["hidden text"] = None
        return []
    _rewrite(child, rewriting, paragraph_style)
    if local == "r":
        _mark_script(child, rewriting)
    opened = local not in _READ and not local.endswith("Pr") and any(_local(one) == "t" for one in child.iter())
    return list(child) if opened or local == "AlternateContent" else [child]


def _alternative(content: Element) -> Element:
    """The version for old programs, which the library reads; where that holds no text, the one for new programs."""
    versions = sorted(content, key=lambda one: _local(one) != "Fallback")
    holding = [one for one in versions if any(_local(part) in ("t", "blip", "imagedata") for part in one.iter())]
    return (holding or versions or [content])[0]


def _drawing(drawing: Element, rewriting: _Rewriting) -> list[Element]:
    """A drawing's text boxes as the library knows them, and the description of one that is no picture."""
    boxes = [one for one in drawing.iter() if _local(one) == "txbxContent"]
    for box in boxes:
        _rewrite(box, rewriting)
    if any(_local(one) == "blip" for one in drawing.iter()):
        pictures = [drawing]
    else:
        texts = [one.get("descr", "") for one in drawing.iter() if _local(one) == "docPr"]
        pictures = [rewriting.text(f" {text} ") for text in texts if text]
    shapes = []
    for box in boxes:
        shape = Element(f"{{{_VML}}}textbox")
        shape.append(box)
        shapes.append(rewriting.make("pict", shape))
    return [*pictures, *shapes]


def _formula(formula: Element, rewriting: _Rewriting) -> list[Element]:
    return [rewriting.make("r", rewriting.text(omml_text(formula)))]


def _ruby(ruby: Element, rewriting: _Rewriting) -> list[Element]:
    """Characters with how they are read behind them."""
    base, above = (_shown(ruby.find(rewriting.name(part))) for part in ("rubyBase", "rt"))
    return [rewriting.text(f"{base}({above})" if above else base)]


_REPLACED = {"oMath": _formula, "oMathPara": _formula, "ruby": _ruby, "drawing": _drawing}


def _is_hidden(run: Element, rewriting: _Rewriting, paragraph_style: str) -> bool:
    look = run.find(rewriting.name("rPr"))
    vanish = None if look is None else look.find(rewriting.name("vanish"))
    if look is not None and vanish is not None:
        return _is_on(look, rewriting.name("vanish"))
    style = "" if look is None else _value(look, rewriting.name("rStyle"))
    return style in rewriting.hidden or paragraph_style in rewriting.hidden


def _mark_script(run: Element, rewriting: _Rewriting) -> None:
    """Say outright that a run is raised or lowered, where a style or its position says so."""
    look = run.find(rewriting.name("rPr"))
    if look is None or look.find(rewriting.name("vertAlign")) is not None:
        return
    script = rewriting.scripts.get(_value(look, rewriting.name("rStyle")), "")
    position = _value(look, rewriting.name("position"))
    if re.fullmatch(r"[+-]?\d+", position) and abs(int(position)) >= _RAISED_HALF_POINTS:
        script = "superscript" if int(position) > 0 else "subscript"
    if script:
        align = rewriting.make("vertAlign")
        align.set(rewriting.name("val"), script)
        look.append(align)


def _add_margins(document: Element, parts: Mapping[str, bytes], rewriting: _Rewriting) -> None:
    """Put the lines of page headers before the text and those of footers after it, each once."""
    body = document.find(rewriting.name("body"))
    if body is None:
        return
    lines: dict[str, list[str]] = {"header": [], "footer": []}
    for name, kind in sorted((name, found[1]) for name in parts if (found := _MARGIN.fullmatch(name))):
        root = ElementTree.fromstring(parts[name])
        _rewrite(root, rewriting)
        lines[kind] += [_shown(one).strip() for one in root.iter(rewriting.name("p"))]
    headers, footers = (
        [rewriting.make("p", rewriting.make("r", rewriting.text(line))) for line in dict.fromkeys(found) if line]
        for found in lines.values()
    )
    at_end = len(body) - (len(body) > 0 and _local(body[-1]) == "sectPr")
    body[at_end:at_end] = footers
    body[0:0] = headers


def _named_parts(parts: Mapping[str, bytes]) -> Iterator[str]:
    for pattern, said in _NAMED_PARTS:
        found = [parts[name] for name in parts if pattern.fullmatch(name)]
        if any(_local(one) in ("t", "v") and (one.text or "").strip() for data in found for one in _elements(data)):
            yield said
    if any(_EMBEDDED.match(name) for name in parts):
        yield "embedded objects"


def _elements(data: bytes) -> Iterator[Element]:
    return ElementTree.fromstring(data).iter()


def _shown(element: Element | None) -> str:
    """The text of an element as one line."""
    if element is None:
        return ""
    kinds = {"t": "", "tab": "\t", "br": " ", "cr": " ", "noBreakHyphen": "-"}
    return "".join(one.text or kinds[_local(one)] for one in element.iter() if _local(one) in kinds)


def _is_on(look: Element, name: str) -> bool:
    found = look.find(name)
    return found is not None and next(iter(found.attrib.values()), "1").lower() not in _OFF


def _value(element: Element, name: str) -> str:
    found = element.find(name)
    return "" if found is None else next(iter(found.attrib.values()), "")


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
