"""What comes out of a document: its text, and what of it is not in that text. Pure."""

import re
from dataclasses import dataclass

_SIMPLE_SCRIPT = re.compile(r"[+\-−±]?[\w.]+[+\-−*′']?|[+\-−±*′†‡°']+")
_UNMARKED_SCRIPTS = frozenset({"st", "nd", "rd", "th", "®", "™", "℠", "TM", "SM"})


@dataclass(frozen=True)
class Extracted:
    """`left_out`: kinds of content of the document that are not in the text."""

    text: str
    left_out: tuple[str, ...] = ()


def superscript(text: str) -> str:
    """`^6`, or `^(n + 1)` where the end would not be seen; note marks in brackets and ordinals need no sign."""
    return _script("^", text)


def subscript(text: str) -> str:
    """`_2`, or `_(i, j)` where the end would not be seen."""
    return _script("_", text)


def _script(sign: str, text: str) -> str:
    bare = text.strip()
    if not bare or bare in _UNMARKED_SCRIPTS or (bare.startswith("[") and bare.endswith("]")):
        return text
    return sign + (bare if _SIMPLE_SCRIPT.fullmatch(bare) else f"({bare})")
