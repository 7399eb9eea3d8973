"""A local release as it was last applied. Reads its files."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lightragctl.core.runtime import AppliedRelease, NeededSecret
from lightragctl.core.settings import SecretRef
from lightragctl.local.files import DesiredProcesses, ReleaseFiles


def read_applied(files: ReleaseFiles, wanted: DesiredProcesses, include_secrets: bool) -> AppliedRelease:
    """The release: its profile, its settings files, and the environment variables that hold its secrets."""
    handed = files.read_environments()
    given = {name: value for held in (handed.processes.values() if handed else ()) for name, value in held.items()}
    settings = {process.name: found for process in wanted.processes if (found := _settings(files, process.name))}
    names = sorted(set(_variables(settings)))
    values = {name: {"": base64.b64encode(given[name].encode()).decode()} for name in names if name in given}
    return AppliedRelease(
        profile_name=wanted.profile_name,
        values=wanted.profile,
        settings=settings,
        secrets=tuple(NeededSecret(name) for name in names),
        secret_values=values if include_secrets else {},
    )


def _settings(files: ReleaseFiles, name: str) -> dict[str, Any]:
    path = files.settings(name)
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return settings


def _variables(settings: object) -> Iterator[str]:
    """Environment variables that settings refer to for a secret, as `core.settings.SecretRef` is written."""
    if isinstance(settings, Mapping):
        if settings.keys() == SecretRef.model_fields.keys():
            yield from (name for name in (settings["env"],) if name)
        else:
            yield from (name for value in settings.values() for name in _variables(value))
    elif isinstance(settings, list):
        yield from (name for value in settings for name in _variables(value))
