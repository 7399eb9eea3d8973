"""diagnose run, list, explain, bundle."""

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lightragctl.cli.hints import with_options
from lightragctl.cli.options import Session
from lightragctl.core.result import Event, Result

if TYPE_CHECKING:
    from lightragctl.diagnose.check import Check
    from lightragctl.diagnose.run import Report

SymptomName = Annotated[
    Literal["slow", "unavailable", "oom", "wrong-answers"] | None,
    typer.Option("--symptom", help="What users notice: only checks that may explain it.", show_default=False),
]
CategoryName = Annotated[
    Literal["cluster", "deployment", "retrieval", "models", "memory", "data", "quality", "security", "lightrag", "cost"]
    | None,
    typer.Option("--only", help="Only checks of this category.", show_default=False),
]
_EVERY_S = 30.0


def run(
    session: Session,
    symptom: SymptomName = None,
    only: CategoryName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every 30 seconds until interrupted.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="BUNDLE", help="Judge a bundle instead of a release.", show_default=False),
    ] = None,
) -> Result:
    """Find what is wrong with a release: the root cause first, with evidence and the next command. Changes nothing.

    Exit status 0: nothing found; 3: errors; 4: warnings. What could not be read is listed, and is no finding.

    \b
    Examples:
      lightragctl diagnose
      lightragctl diagnose --symptom slow --profile dev
      lightragctl diagnose --only security -o json
      lightragctl diagnose --from release.tar.gz
    """
    from lightragctl.cli.diagnose import payloads
    from lightragctl.diagnose.bundle import read_bundle
    from lightragctl.diagnose.check import Category, Symptom
    from lightragctl.diagnose.run import examine_facts, selected

    checks = selected(Category(only) if only else None, Symptom(symptom) if symptom else None)
    if source is not None:
        settings = session.release.loaded.profile.diagnose
        return payloads.diagnosed(examine_facts(read_bundle(source), checks, settings, datetime.now(UTC)))
    place = (session.options.place, session.options.overrides)
    while watch:
        session.out.show(with_options(payloads.diagnosed(_examined(session, checks)), *place))
        time.sleep(_EVERY_S)
    return payloads.diagnosed(_examined(session, checks))


def _examined(session: Session, checks: "tuple[Check, ...]") -> "Report":
    from lightragctl.diagnose.run import examine

    with session.out.live() as notify:
        return examine(
            session.release,
            checks,
            partial(datetime.now, UTC),
            lambda name: notify(Event(f"read {name}", "reading the release", passing=True)),
        )


def list_(session: Session, only: CategoryName = None) -> Result:
    """List the checks.

    \b
    Examples:
      lightragctl diagnose list
      lightragctl diagnose list --only retrieval
    """
    from lightragctl.cli.diagnose import payloads
    from lightragctl.diagnose.check import Category
    from lightragctl.diagnose.run import selected

    return payloads.check_list(selected(Category(only) if only else None, None))


def explain(
    session: Session,
    code: Annotated[str, typer.Argument(metavar="CODE", help="Of a check, such as LR203.", show_default=False)],
) -> Result:
    """Explain a check: what it reads, what follows from its findings, what to do.

    \b
    Examples:
      lightragctl diagnose explain LR203
    """
    from lightragctl.cli.diagnose import payloads
    from lightragctl.core.errors import UsageError
    from lightragctl.core.hint import Command, Hint
    from lightragctl.diagnose.check import all_checks

    check = next((one for one in all_checks() if one.code == code.upper()), None)
    if check is None:
        raise UsageError(f"there is no check {code}", Hint("see them all: ", Command("diagnose list")))
    return payloads.one_check(check)


def bundle(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write, such as release.tar.gz.", show_default=False)],
) -> Result:
    """Write all facts of a release into one archive, to be judged elsewhere.

    Documents, questions, values of environment variables and Secrets are not among them.

    \b
    Examples:
      lightragctl diagnose bundle release.tar.gz
      lightragctl diagnose --from release.tar.gz
    """
    import lightragctl
    from lightragctl.cli.diagnose import payloads
    from lightragctl.diagnose.bundle import write_bundle
    from lightragctl.diagnose.run import selected

    report = _examined(session, selected(None, None))
    return payloads.bundled(file, write_bundle(file, report.facts, lightragctl.__version__), report)
