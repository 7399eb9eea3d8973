"""Completes the commands that messages name, so that they can be typed as they stand. Pure."""

import re
from collections.abc import Sequence
from dataclasses import replace

from lightragctl.core.hint import Hint
from lightragctl.core.result import ErrorInfo, Result

_COMMAND = re.compile(
    r"\blightragctl (up|rollback|history|unlock|diff|status|logs|exec|port-forward|down|ingest|retrieve|query"
    r"|golden build|bench run)\b"
)
_RENDERING = ("up", "diff")
"""Commands for which the profile's overrides matter; without them they would change the release."""


def with_options(result: Result, place: Sequence[str], overrides: Sequence[str]) -> Result:
    """The result with options added to each command that it advises.

    Args:
        result: of a command.
        place: options that say which release, and where, as words for a shell.
        overrides: those of the profile's values.
    """

    def complete(text: str) -> str:
        if isinstance(text, Hint):
            return text.line(place, overrides)
        return _COMMAND.sub(
            lambda found: " ".join((found[0], *place, *(overrides if found[1] in _RENDERING else ()))), text
        )

    errors = [ErrorInfo(error.code, complete(error.message), complete(error.hint)) for error in result.errors]
    data = {key: complete(value) if isinstance(value, Hint) else value for key, value in result.data.items()}
    if isinstance(data.get("message"), str):
        data["message"] = complete(data["message"])
    return replace(result, errors=errors, data=data)
