"""Results of `profiles`. Pure; the only place that defines the keys of their payloads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.core.component import Plan
    from lightragctl.core.findings import Finding
    from lightragctl.core.profile import LoadedProfile


def profiles_list(profiles: Mapping[str, Mapping[str, Any]]) -> Result:
    """`profiles list`: name, runtime and description of each."""
    rows = [
        {"name": name, "runtime": str(values.get("runtime", "")), "description": str(values.get("description", ""))}
        for name, values in profiles.items()
    ]
    return Result("profiles list", {"profiles": rows})


def profiles_show(loaded: "LoadedProfile", origin: bool) -> Result:
    """`profiles show`: the profile's values; with `origin`, one row per value."""
    if not origin:
        return Result("profiles show", {"name": loaded.name, "profile": loaded.profile.model_dump(mode="json")})
    rows = [{"key": ".".join(path), "value": value, "origin": str(where)} for path, value, where in loaded.leaves()]
    return Result("profiles show", {"name": loaded.name, "values": rows})


def profiles_init(path: Path, base: str) -> Result:
    """`profiles init`: the new file."""
    return Result("profiles init", {"file": str(path), "extends": base})


def profiles_validate(plan: "Plan", findings: "Sequence[Finding]") -> Result:
    """`profiles validate`: the findings; exit status 8 when one is an error."""
    rows = [
        {
            "code": one.code,
            "severity": str(one.severity),
            "subject": one.subject,
            "message": one.message,
            "hint": one.hint,
        }
        for one in findings
    ]
    data = {"name": plan.profile_name, "components": sorted(plan.components), "findings": rows}
    errors = [ErrorInfo(one.code, str(one), one.hint) for one in findings if one.severity == "error"]
    if not errors:
        return Result("profiles validate", data)
    return Result("profiles validate", data, Status.FAILED, errors, ExitStatus.REFUSED)
