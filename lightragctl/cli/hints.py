"""Completes the commands that messages name, so that they can be typed as they stand. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightragctl.core.hint import Hint
from lightragctl.core.result import ErrorInfo, Result


def with_options(result: Result, place: Sequence[str], overrides: Sequence[str]) -> Result:
    """The result with options added to each command that its errors and its payload advise.

    Args:
        result: of a command.
        place: options that select the release, as words for a shell.
        overrides: those of the profile's values.
    """

    def complete(value: Any) -> Any:
        if isinstance(value, Hint):
            return value.line(place, overrides)
        if isinstance(value, Mapping):
            return {key: complete(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [complete(inner) for inner in value]
        return value

    errors = [ErrorInfo(error.code, complete(error.message), complete(error.hint)) for error in result.errors]
    return replace(result, errors=errors, payload=complete(result.data))
