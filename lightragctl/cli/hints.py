"""Completes the commands that messages name, so that they can be typed as they stand. Pure."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from lightragctl.core.result import ErrorInfo, Result

if TYPE_CHECKING:
    from lightragctl.cli.options import GlobalOptions

_COMMAND = re.compile(r"\blightragctl (up|diff|status|logs|exec|port-forward|down|ingest|retrieve|query)\b")
_RENDERING = ("up", "diff")
"""Commands for which the profile's overrides matter; without them they would change the release."""


def with_options(result: Result, options: "GlobalOptions") -> Result:
    """The result with the options that this command was given added to each command that it advises."""
    place, overrides = _place(options), _overrides(options)

    def complete(text: str) -> str:
        return _COMMAND.sub(
            lambda found: " ".join((found[0], *place, *(overrides if found[1] in _RENDERING else ()))), text
        )

    errors = [ErrorInfo(error.code, complete(error.message), complete(error.hint)) for error in result.errors]
    data = dict(result.data)
    if isinstance(data.get("message"), str):
        data["message"] = complete(data["message"])
    return replace(result, errors=errors, data=data)


def _place(options: "GlobalOptions") -> Sequence[str]:
    """The options that say which release, and where."""
    given = {
        "--profile": options.profile,
        "--name": options.name,
        "-n": options.namespace,
        "--context": options.context,
        "--kubeconfig": options.kubeconfig,
    }
    return [word for name, value in given.items() if value for word in (name, shlex.quote(str(value)))]


def _overrides(options: "GlobalOptions") -> Sequence[str]:
    files = [word for path in options.values or () for word in ("--values", shlex.quote(str(path)))]
    return files + [word for pair in options.set or () for word in ("--set", shlex.quote(pair))]
