"""The Results of the commands of `diagnose`. Pure; the keys of each payload are stated here only."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightragctl.core.errors import ExitStatus
from lightragctl.core.result import ErrorInfo, Result, Status

if TYPE_CHECKING:
    from lightragctl.diagnose.check import Check, Found
    from lightragctl.diagnose.profiler.model import Plan, Profile, Target
    from lightragctl.diagnose.run import Report


def _finding(found: "Found") -> dict[str, Any]:
    return {
        "code": found.code,
        "severity": str(found.severity),
        "category": str(found.category),
        "subject": found.subject,
        "component": found.component,
        "message": found.message,
        "hint": found.hint,
        "evidence": list(found.evidence),
        "docs": found.docs,
        "consequences": [_finding(one) for one in found.consequences],
    }


def diagnosed(report: "Report") -> Result:
    """`diagnose`: 3 when a root cause is an error, 4 when there are only warnings."""
    found = report.diagnosed
    counts = Counter(str(one.severity) for one in found.findings)
    data = {
        "release": report.release,
        "runtime": report.runtime,
        "findings": [_finding(one) for one in found.findings],
        "path": [vars(one) for one in report.path],
        "unseen": [{"code": one.code, "title": one.title, "reasons": list(one.reasons)} for one in found.unseen],
        "suppressed": [vars(one) for one in found.suppressed],
        "judged": found.judged,
        "took_s": report.took_s,
        "requests": report.requests,
        "api_requests": report.api_requests,
        "bytes_read": report.bytes_read,
    }
    if found.has_errors:
        message = f"found errors: {counts['error']}, warnings: {counts['warning']}"
        return Result("diagnose run", data, Status.FAILED, [ErrorInfo("findings", message)], ExitStatus.CHECKS_FAILED)
    if found.findings:
        warned = [ErrorInfo("findings", f"found warnings: {counts['warning']}")]
        return Result("diagnose run", data, Status.PARTIAL, warned, ExitStatus.WARNINGS)
    return Result("diagnose run", data)


def check_list(checks: "Sequence[Check]") -> Result:
    """`diagnose list`: the checks."""
    return Result("diagnose list", {"checks": [_check(one) for one in checks]})


def one_check(check: "Check") -> Result:
    """`diagnose explain`: one check, whole."""
    return Result("diagnose explain", {"check": _check(check)})


def _check(check: "Check") -> dict[str, Any]:
    return {
        "code": check.code,
        "title": check.title,
        "category": str(check.category),
        "severity": str(check.severity),
        "needs": {fact.name: fact.about for fact in check.needs},
        "symptoms": [str(one) for one in check.symptoms],
        "explains": list(check.explains),
        "fix": check.fix,
        "docs": check.docs,
    }


def bundled(path: Path, size_bytes: int, report: "Report") -> Result:
    """`diagnose bundle`: the file, and which facts are in it."""
    facts = sorted(report.facts.values)
    missing = dict(sorted(report.facts.missing.items()))
    data = {"file": str(path), "size_bytes": size_bytes, "release": report.release, "facts": facts, "missing": missing}
    return Result("diagnose bundle", data)


def planned_profile(target: "Target", plan: "Plan") -> Result:
    """`diagnose profiler --dry-run`: what would be profiled, how, and with which rights."""
    return Result("diagnose profiler", _profile(target, plan))


def profiled(target: "Target", plan: "Plan", profile: "Profile", file: Path | None) -> Result:
    """`diagnose profiler`: the file, else the stacks themselves; 4 when it is not what was requested."""
    data = {
        **_profile(target, plan),
        "file": str(file) if file else None,
        "size_bytes": len(profile.content),
        "container": profile.container,
        "stacks": "" if file else profile.content.decode(errors="replace"),
    }
    if plan.note:
        noted = [ErrorInfo("other-profile", plan.note)]
        return Result("diagnose profiler", data, Status.PARTIAL, noted, ExitStatus.WARNINGS)
    return Result("diagnose profiler", data)


def _profile(target: "Target", plan: "Plan") -> dict[str, Any]:
    return {
        "target": target.name,
        "pid": target.process.pid or None,
        "language": str(target.language),
        "format": str(plan.artifact),
        "tool": str(plan.tool),
        "access": str(plan.access),
        "rights": list(plan.rights),
        "changes": list(plan.changes),
        "note": plan.note,
    }
