"""tune search, apply, undo: the best vector index for the data of a workspace."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightragctl.cli.backup.commands import DryRun
from lightragctl.cli.data.commands import Kind, Workspace
from lightragctl.cli.deploy.commands import Timeout
from lightragctl.cli.operations.commands import Foreground
from lightragctl.cli.options import Session
from lightragctl.core.result import Event, Result

if TYPE_CHECKING:
    from lightragctl.cli.tune.payloads import Changer
    from lightragctl.tune.apply import Change
    from lightragctl.tune.search import Found


MinRecall = Annotated[
    float, typer.Option("--min-recall", metavar="RATIO", help="Minimum recall at k.", min=0.01, max=1)
]
MaxP95 = Annotated[
    str | None,
    typer.Option("--max-p95", metavar="TIME", help="Maximum 95th percentile of a search: 20ms. (default: none)"),
]
MaxMemory = Annotated[
    str | None, typer.Option("--max-memory", metavar="SIZE", help="Maximum memory of the index: 4Gi. (default: none)")
]
K = Annotated[int, typer.Option("--top-k", "-k", metavar="N", help="Number of results.", min=1, max=1000)]
Budget = Annotated[
    str, typer.Option("--budget", metavar="TIME", help="Time after which no further index is built: 30m, 2h.")
]
Load = Annotated[
    float, typer.Option("--load", metavar="RATIO", help="Share of the time with a search in flight.", min=0.01, max=1)
]
QueryCount = Annotated[
    int, typer.Option("--queries", metavar="N", help="Maximum number of queries.", min=10, max=10_000)
]
Rows = Annotated[
    int | None, typer.Option("--rows", metavar="N", help="Maximum number of rows. (default: all)", min=100)
]
TrialStore = Annotated[
    str | None,
    typer.Option("--trial-store", metavar="URL", help="Milvus for trials: http://HOST:PORT. (default: the release's)"),
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the result as an HTML page.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Discard the measurements of an earlier run instead of continuing it.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Random seed of samples.")]


def search(
    session: Session,
    min_recall: MinRecall = 0.95,
    max_p95: MaxP95 = None,
    max_memory: MaxMemory = None,
    k: K = 10,
    budget: Budget = "1h",
    load: Load = 0.5,
    queries: QueryCount = 200,
    rows: Rows = None,
    trial_store: TrialStore = None,
    html: Html = None,
    restart: Restart = False,
    seed: Seed = 0,
    kind: Kind = "chunks",
    workspace: Workspace = None,
) -> Result:
    """Search for the best index of a workspace by trials on its own vectors and questions. Changes nothing.

    Trials are built in a separate collection, which is deleted afterwards. After Ctrl-C the next run continues.
    Exit status 3: nothing meets the targets; 4: the result is limited, as the warnings say.

    \b
    Examples:
      lightragctl tune search
      lightragctl tune search --min-recall 0.98 --max-p95 20ms --max-memory 4Gi --html tune.html
      lightragctl tune search -w manuals --budget 20m --load 0.2 -o json
      lightragctl tune search --trial-store http://127.0.0.1:19540
    """
    from lightragctl.cli.tune import payloads
    from lightragctl.cli.tune.parsing import milliseconds, seconds, size_bytes
    from lightragctl.tune import site
    from lightragctl.tune.points import Targets
    from lightragctl.tune.search import Plan
    from lightragctl.tune.search import search as run

    targets = Targets(k, min_recall, milliseconds("--max-p95", max_p95), size_bytes("--max-memory", max_memory))
    budget_s = seconds("--budget", budget)
    with session.out.live() as notify, site.open_store(session.release) as store:
        target = site.target_of(session.release, store, workspace, kind)
        plan = Plan(
            target.workspace, kind, target.physical, target.dimension, target.current, targets,
            queries, rows, budget_s, load, seed, restart,
        )  # fmt: skip
        found = run(site.ground_of(session.release, store, target, trial_store, notify), plan, notify)
    if html is not None:
        _write_page(found, html)
    return payloads.tune_search(found)


def apply(
    session: Session,
    foreground: Foreground = False,
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
    kind: Kind = "chunks",
    workspace: Workspace = None,
) -> Result:
    """Apply what the last search has picked. The parameters of searches change at once, other indexes by a rebuild.

    A rebuild copies the collection, verifies the copy and switches to it; the previous one is kept for 7 days.
    Queries of lightrag-api go on. Writes are refused with 503 while the copy is verified.

    \b
    Examples:
      lightragctl tune apply --dry-run
      lightragctl tune apply --yes
      lightragctl tune apply -w manuals --foreground
    """
    from lightragctl.cli.tune import payloads
    from lightragctl.tune import site
    from lightragctl.tune.apply import picked, refuse_without_memory
    from lightragctl.tune.ledger import pick_of

    with site.open_store(session.release) as store:
        target = site.target_of(session.release, store, workspace, kind)
        pick = pick_of(site.ledger_of(session.release, target))
        change = picked(store, target.workspace, target.physical, pick)
        if change is not None and change.rebuilds:
            refuse_without_memory(store.memory(), site.rows_of(store, target), target.dimension, change.after)
    if change is None:
        session.out.notify(Event("nothing to apply: the search found no better setting", target.physical))
        return payloads.kept(target.workspace, target.physical, pick.reason if pick else "")
    if dry_run:
        return payloads.changed(payloads.Changer.APPLY, change, True)
    if change.rebuilds:
        session.confirm(f"Rebuild collection {change.collection}? The previous one is kept for 7 days.")
    return _carry_out(session, payloads.Changer.APPLY, change, timeout_s, foreground)


def undo(
    session: Session,
    foreground: Foreground = False,
    timeout_s: Timeout = 600.0,
    dry_run: DryRun = False,
    kind: Kind = "chunks",
    workspace: Workspace = None,
) -> Result:
    """Undo the last `tune apply`. A kept collection is brought up to date and used again; else it is rebuilt.

    \b
    Examples:
      lightragctl tune undo --dry-run
      lightragctl tune undo --yes
    """
    from lightragctl.cli.operations.driving import operator
    from lightragctl.cli.tune import payloads
    from lightragctl.tune import site
    from lightragctl.tune.apply import previous

    with site.open_store(session.release) as store:
        target = site.target_of(session.release, store, workspace, kind)
        records = operator(session).place.store.records()
        change = previous(store, target.workspace, target.physical, records)
    if dry_run:
        return payloads.changed(payloads.Changer.UNDO, change, True)
    if change.rebuilds:
        session.confirm(f"Put the previous index of {change.collection} in place again?")
    return _carry_out(session, payloads.Changer.UNDO, change, timeout_s, foreground)


def _carry_out(session: Session, by: "Changer", change: "Change", timeout_s: float, foreground: bool) -> Result:
    from lightragctl.cli.operations.driving import operator, start, stay
    from lightragctl.cli.operations.steering import outcome
    from lightragctl.cli.tune import payloads
    from lightragctl.core.profile import Runtime
    from lightragctl.operations import control
    from lightragctl.operations.model import JobSpec, Phase, StepState
    from lightragctl.tune import site
    from lightragctl.tune.apply import apply_search
    from lightragctl.tune.kinds import REBUILD

    if not change.rebuilds:
        place = operator(session).place
        with (
            session.out.live() as notify,
            control.reserved(place, str(by), notify),
            site.open_store(session.release) as store,
        ):
            apply_search(store, change, undo=by is payloads.Changer.UNDO)
        return payloads.changed(by, change, False)
    is_here = foreground or session.release.loaded.profile.runtime is Runtime.LOCAL
    spec = None if is_here else JobSpec()
    record = start(session, REBUILD, change.parameters(timeout_s), change.workspace, spec)
    if record.phase is Phase.FAILED and record.steps[0].state is StepState.FAILED:
        cause, works = record.cause, operator(session)
        control.abort(works.place, record.id, works.clock.now())
        record = stay(works, record.id, foreground=True).changed(cause=cause)
    return payloads.rebuilt(by, record, outcome(str(by), record, Phase.SUCCEEDED))


def _write_page(found: "Found", file: Path) -> None:
    from lightragctl.bench.report.html import html
    from lightragctl.core.errors import LightragctlError
    from lightragctl.tune.report import page

    try:
        file.write_text(html(page(found)), encoding="utf-8")
    except OSError as error:
        raise LightragctlError(f"cannot write {file}: {error.strerror}", "set --html to a writable file") from error
