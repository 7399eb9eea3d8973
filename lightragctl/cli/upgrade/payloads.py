"""From plans and the matrix to the Results of `upgrade`. Pure; the keys of each payload are stated here only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lightragctl.core.errors import ExitStatus
from lightragctl.core.hint import Command, Hint
from lightragctl.core.result import ErrorInfo, Result, Status
from lightragctl.core.versions import Hop
from lightragctl.operations.model import Operation
from lightragctl.upgrade.plan import UpgradePlan


@dataclass(frozen=True)
class KnownHop:
    """A known change of versions of a component."""

    component: str
    before: str
    after: str
    kind: str
    note: str
    source: str
    tested: bool


@dataclass(frozen=True)
class MatrixPayload:
    """The compatibility matrix: changes between minors; within a minor every change is rolling."""

    hops: Sequence[KnownHop]
    components: Sequence[str]


def plan(release: str, found: UpgradePlan) -> Result:
    """`upgrade --plan`: 8 when a component is refused."""
    data = {"release": release, **asdict(found)}
    refused = [one for one in found.components if one.refusal]
    if not refused:
        return Result("upgrade run", data)
    errors = [
        ErrorInfo(
            "refused",
            f"{one.component}: {one.refusal}",
            Hint(
                "known version changes: ",
                Command("upgrade matrix"),
                "; or back up the data and use ",
                Command("up"),
            ),
        )
        for one in refused
    ]
    return Result("upgrade run", data, Status.FAILED, errors, ExitStatus.REFUSED)


def report(record: Operation, file: Path) -> Result:
    """`upgrade report`."""
    return Result("upgrade report", {"id": record.id, "phase": str(record.phase), "html": str(file)})


def matrix(hops: Mapping[str, Sequence[Hop]]) -> Result:
    """`upgrade matrix`."""
    known = [
        KnownHop(name, str(one.before), str(one.after), str(one.kind), one.note, one.source, one.tested)
        for name, all_of in sorted(hops.items())
        for one in all_of
    ]
    return Result("upgrade matrix", MatrixPayload(known, sorted(hops)))
