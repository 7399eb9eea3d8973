"""Formulas of Word (OMML) and of web pages (MathML) as one line of text: `x^2`, `(a)/(b)`. Pure."""

from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from lightragctl.ingest.extraction import subscript, superscript

_TEX = "application/x-tex"
_IGNORED = frozenset({"annotation", "annotation-xml", "none", "mprescripts"})
_BLANK = frozenset({"mspace"})
_INTEGRAL = "∫"  # what Word leaves unsaid in a sum-like sign

_Parts = Sequence[str]


def _both(parts: _Parts) -> str:
    return parts[0] + subscript(parts[1]) + superscript(parts[2])


def _fraction(parts: _Parts) -> str:
    return f"({parts[0]})/({parts[1]})"


_MATHML: dict[str, Callable[[_Parts], str]] = {
    "msup": lambda parts: parts[0] + superscript(parts[1]),
    "mover": lambda parts: parts[0] + superscript(parts[1]),
    "msub": lambda parts: parts[0] + subscript(parts[1]),
    "munder": lambda parts: parts[0] + subscript(parts[1]),
    "msubsup": _both,
    "munderover": _both,
    "mfrac": _fraction,
    "msqrt": lambda parts: f"√({''.join(parts)})",
    "mroot": lambda parts: f"{superscript(parts[1])}√({parts[0]})",
    "mtr": lambda parts: ", ".join(parts) + "; ",
    "mtable": lambda parts: f"[{''.join(parts).removesuffix('; ')}]",
    "mfenced": lambda parts: f"({', '.join(parts)})",
}
"""By element: its text from those of its children."""

_OMML: dict[str, Callable[[dict[str, str]], str]] = {
    "sSup": lambda part: part["e"] + superscript(part["sup"]),
    "sSub": lambda part: part["e"] + subscript(part["sub"]),
    "sSubSup": lambda part: part["e"] + subscript(part["sub"]) + superscript(part["sup"]),
    "sPre": lambda part: subscript(part["sub"]) + superscript(part["sup"]) + part["e"],
    "f": lambda part: f"({part['num']})/({part['den']})",
    "rad": lambda part: f"{superscript(part['deg'])}√({part['e']})",
    "nary": lambda part: f"{part['chr'] or _INTEGRAL}{subscript(part['sub'])}{superscript(part['sup'])} {part['e']}",
    "func": lambda part: f"{part['fName']} {part['e']}",
    "limLow": lambda part: part["e"] + subscript(part["lim"]),
    "limUpp": lambda part: part["e"] + superscript(part["lim"]),
    "acc": lambda part: part["e"] + (part["chr"] or "\u0302"),
    "d": lambda part: f"{part['begChr'] or '('}{part['e']}{part['endChr'] or ')'}",
    "mr": lambda part: part["e"] + "; ",
    "m": lambda part: f"[{part['mr'].removesuffix('; ')}]",
}
"""By element: its text from those of its parts by name, and the characters that its properties name."""
_SEVERAL = {"d": ", ", "mr": ", ", "eqArr": "; "}
_CHARACTERS = ("chr", "begChr", "endChr")


def mathml_text(element: Element) -> str:
    """The formula that a `math` element shows; its TeX where it carries that."""
    for annotation in element.iter():
        if _name(annotation) == "annotation" and annotation.get("encoding") == _TEX:
            return " ".join((annotation.text or "").split())
    return " ".join(_mathml(element).split())


def omml_text(element: Element) -> str:
    """The formula that an `oMath` element shows."""
    return " ".join(_omml(element).split())


def _mathml(element: Element) -> str:
    if _name(element) in _IGNORED:
        return ""
    if _name(element) in _BLANK:
        return " "
    parts = [_mathml(child) for child in element]
    shape = _MATHML.get(_name(element))
    needed = {"msubsup": 3, "munderover": 3, "mtr": 0, "mtable": 0, "mfenced": 0, "msqrt": 0}.get(_name(element), 2)
    between = [(child.tail or "").strip() for child in element]
    stray = any(between) or (
        (parts or shape) and (element.text or "").strip()
    )  # text beside elements, which no formula has
    if shape and len(parts) >= needed and not stray:
        return shape(parts)
    inside = "".join(f"{part} {tail} " if tail else part for part, tail in zip(parts, between, strict=True))
    return (element.text or "").strip() + (f" {inside}" if stray else inside)


def _omml(element: Element) -> str:
    name = _name(element)
    if name == "t":
        return element.text or ""
    texts = [(_name(child), _omml(child)) for child in element if not _name(child).endswith("Pr")]
    shape = _OMML.get(name)
    if not shape:
        return _SEVERAL.get(name, "").join(text for _, text in texts)
    return shape(_parts(element, texts, _SEVERAL.get(name, "")))


def _parts(element: Element, texts: Sequence[tuple[str, str]], between: str) -> dict[str, str]:
    parts = dict.fromkeys((*_CHARACTERS, "e", "sup", "sub", "num", "den", "deg", "fName", "lim", "mr"), "")
    for name in parts:
        parts[name] = between.join(text for part, text in texts if part == name)
    properties = [child for child in element if _name(child) == f"{_name(element)}Pr"]
    for said in (said for found in properties for said in found if _name(said) in _CHARACTERS):
        parts[_name(said)] = next(iter(said.attrib.values()), "")
    return parts


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
