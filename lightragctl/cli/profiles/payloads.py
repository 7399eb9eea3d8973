"""Results of `profiles`. Pure; the only place that defines the keys of their payloads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.core.component import Plan
    from lightragctl.core.findings import Finding
    from lightragctl.core.profile import LoadedProfile


@dataclass(frozen=True)
class ProfileSummary:
    """A shipped profile."""

    name: str
    runtime: str
    description: str


@dataclass(frozen=True)
class ProfilesPayload:
    """The shipped profiles."""

    profiles: Sequence[ProfileSummary]


@dataclass(frozen=True)
class ProfilePayload:
    """The effective values of a profile."""

    name: str
    profile: Mapping[str, Any]


@dataclass(frozen=True)
class ValueOrigin:
    """A value of a profile and its source."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True)
class OriginsPayload:
    """All values of a profile with their sources."""

    name: str
    values: Sequence[ValueOrigin]


@dataclass(frozen=True)
class NewProfilePayload:
    """A created profile."""

    file: str
    extends: str


@dataclass(frozen=True)
class ValidationPayload:
    """The findings about a profile."""

    name: str
    components: Sequence[str]
    findings: "Sequence[Finding]"


def profiles_list(profiles: Mapping[str, Mapping[str, Any]]) -> Result:
    """`profiles list`: name, runtime and description of each."""
    rows = [
        ProfileSummary(name, str(values.get("runtime", "")), str(values.get("description", "")))
        for name, values in profiles.items()
    ]
    return Result("profiles list", ProfilesPayload(rows))


def profiles_show(loaded: "LoadedProfile", origin: bool) -> Result:
    """`profiles show`: the profile's values; with `origin`, one row per value."""
    if not origin:
        return Result("profiles show", ProfilePayload(loaded.name, loaded.profile.model_dump(mode="json")))
    rows = [ValueOrigin(".".join(path), value, str(where)) for path, value, where in loaded.leaves()]
    return Result("profiles show", OriginsPayload(loaded.name, rows))


def profiles_init(path: Path, base: str) -> Result:
    """`profiles init`: the new file."""
    return Result("profiles init", NewProfilePayload(str(path), base))


def profiles_validate(plan: "Plan", findings: "Sequence[Finding]") -> Result:
    """`profiles validate`: the findings; exit status 8 when one is an error."""
    data = ValidationPayload(plan.profile_name, sorted(plan.components), findings)
    errors = [ErrorInfo(one.code, f"{one} ({one.code})", one.hint) for one in findings if one.severity == "error"]
    if not errors:
        return Result("profiles validate", data)
    return Result("profiles validate", data, Status.FAILED, errors, ExitStatus.REFUSED)
