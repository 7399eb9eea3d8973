"""What to do next, as data: a text that knows the commands it names. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeGuard

_PROGRAM = "lightragctl"
_RENDERING = ("up", "diff", "render")
"""Commands for which overrides of the profile matter; without them they would change the release."""
_WITHOUT_RELEASE = ("profiles list", "profiles init", "completion", "version")
"""Commands that concern no release."""


@dataclass(frozen=True)
class Command:
    """A command of ours for the reader to run.

    Attributes:
        name: its words, such as `golden build`.
        arguments: what follows them, ready for a shell.
    """

    name: str
    arguments: str = ""

    def line(self, place: Sequence[str] = (), overrides: Sequence[str] = ()) -> str:
        """The command as it can be typed.

        Args:
            place: options that select the release, each a name and a value, as words for a shell; an option that
                `arguments` sets is left out.
            overrides: those of the profile's values.
        """
        own = self.arguments.split()
        pairs = () if self.name in _WITHOUT_RELEASE else zip(place[::2], place[1::2], strict=True)
        chosen = [word for pair in pairs if pair[0] not in own for word in pair]
        chosen += overrides if self.name in _RENDERING else ()
        return " ".join(word for word in (_PROGRAM, self.name, *chosen, self.arguments) if word)

    def __str__(self) -> str:
        return self.line()


class Hint(str):
    """A text with commands in it. As a string it shows them bare; `line` completes them for one release.

    Args:
        parts: texts and commands, in order.
    """

    parts: tuple[str | Command, ...]

    def __new__(cls, *parts: str | Command) -> Self:
        made = super().__new__(cls, "".join(map(str, parts)))
        made.parts = tuple(inner for part in parts for inner in (part.parts if isinstance(part, Hint) else (part,)))
        return made

    def line(self, place: Sequence[str], overrides: Sequence[str]) -> str:
        """The text with its commands as they can be typed; arguments as for `Command.line`."""
        return "".join(part.line(place, overrides) if isinstance(part, Command) else part for part in self.parts)


def hint_parts(hint: str) -> list[str | dict[str, str]]:
    """A hint as plain data, for a message to another process: texts and `{"command": name, "arguments": text}`.

    Empty where the hint names no command of ours: its text is all there is to it.
    """
    parts = hint.parts if isinstance(hint, Hint) else ()
    if not any(isinstance(part, Command) for part in parts):
        return []
    return [part if isinstance(part, str) else {"command": part.name, "arguments": part.arguments} for part in parts]


def hint_of(text: str, parts: object) -> str:
    """The hint that `hint_parts` described; `text` where `parts` are missing or of a shape that we do not know.

    Args:
        text: the hint as text, for readers that know no parts.
        parts: what another process sent.
    """
    if not isinstance(parts, list) or not parts or not all(map(_is_part, parts)):
        return text
    return Hint(*(part if isinstance(part, str) else Command(part["command"], part["arguments"]) for part in parts))


def _is_part(part: object) -> TypeGuard[str | dict[str, str]]:
    if isinstance(part, str):
        return True
    return (
        isinstance(part, dict)
        and part.keys() == {"command", "arguments"}
        and all(isinstance(value, str) for value in part.values())
    )
