"""Hints as data; redacts what looks like a secret in foreign texts. Pure."""

import re
from collections.abc import Sequence

from lightragctl.core.hint import Command, Hint

HIDDEN = "[redacted]"
_SECRET = re.compile(
    r"(?<=://)[^/\s@:]*:[^/\s@]+(?=@)"  # a user and a password in an address
    r"|\b(?:sk|pk|rk|hf|gsk|xai|nvapi|pplx|tgp|r8)[-_][\w*.-]{6,}|\b(?:AIza|AKIA|ASIA)[\w*-]{12,}"
    r"|\bgh[opsu]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?<=Bearer )[\w*.~+/=-]{6,}"
    r"|(?<=[Pp]assword=)\S+|(?<=[Tt]oken=)\S+|(?<=[Kk]ey=)\S+"
    r"|-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)"
)
MOST_CHARS = 400


def redacted(text: str, most: int = MOST_CHARS) -> str:
    """The text on one line, at most `most` characters, without what looks like a secret."""
    flat = " ".join(_SECRET.sub(HIDDEN, text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


HintData = list[str | tuple[str, str]]


def hint_data(hint: str) -> HintData:
    """The hint as plain data: texts, and commands as (name, arguments)."""
    parts = hint.parts if isinstance(hint, Hint) else (hint,)
    return [(part.name, part.arguments) if isinstance(part, Command) else _SECRET.sub(HIDDEN, part) for part in parts]


def hint_of(data: Sequence[str | tuple[str, str] | list[str]]) -> Hint:
    """The hint of plain data."""
    return Hint(*(part if isinstance(part, str) else Command(part[0], part[1]) for part in data))


def share(part: float, whole: float) -> float:
    """`part` of `whole`; 0 of nothing."""
    return part / whole if whole else 0.0


def percent(part: float, whole: float) -> str:
    """`part` of `whole` in percent, such as `87 %`."""
    return f"{100 * share(part, whole):.0f} %"


def sized(count: float) -> str:
    """Bytes in a unit that a person reads, such as `1.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
