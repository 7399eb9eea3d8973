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
    typer.Option("--symptom", help="Run only the checks that may explain this symptom.", show_default=False),
]
CategoryName = Annotated[
    Literal["cluster", "deployment", "retrieval", "models", "memory", "data", "quality", "security", "lightrag", "cost"]
    | None,
    typer.Option("--only", help="Select the checks of this category.", show_default=False),
]
_EVERY_S = 30.0


def run(
    session: Session,
    symptom: SymptomName = None,
    only: CategoryName = None,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every 30 seconds until interrupted.")] = False,
    lists: Annotated[bool, typer.Option("--list", help="List the checks instead: diagnose list.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="BUNDLE", help="Diagnose a bundle instead of a running release.", show_default=False
        ),
    ] = None,
) -> Result:
    """Diagnose a release: the root cause first, with evidence and the next command. Read-only.

    Exit status 0: nothing found; 3: errors; 4: warnings. Facts that could not be read are listed and are not findings.

    \b
    Examples:
      lightragctl diagnose
      lightragctl diagnose --symptom slow --profile dev
      lightragctl diagnose --only security -o json
      lightragctl diagnose --symptom oom --list
      lightragctl diagnose --from release.tar.gz
    """
    from lightragctl.cli.diagnose import payloads
    from lightragctl.diagnose.bundle import read_bundle
    from lightragctl.diagnose.check import Category, Symptom
    from lightragctl.diagnose.run import examine_facts, selected

    checks = selected(Category(only) if only else None, Symptom(symptom) if symptom else None)
    if lists:
        return payloads.check_list(checks)
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
    code: Annotated[str, typer.Argument(metavar="CODE", help="Code of the check, such as LR203.", show_default=False)],
) -> Result:
    """Explain a check: the facts it reads, the symptoms and findings it explains, the fix.

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
        raise UsageError(f"there is no check {code}", Hint("list all checks: ", Command("diagnose list")))
    return payloads.one_check(check)


def bundle(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Archive to write, such as release.tar.gz.", show_default=False)
    ],
) -> Result:
    """Write a support bundle: all facts of a release in one archive, for diagnosis on another machine.

    It contains no documents, questions, values of environment variables or Secrets.

    \b
    Examples:
      lightragctl diagnose bundle release.tar.gz
      lightragctl diagnose --from release.tar.gz
    """
    import lightragctl
    from lightragctl.cli.diagnose import payloads
    from lightragctl.diagnose.bundle import write_bundle
    from lightragctl.diagnose.output_file import check_new
    from lightragctl.diagnose.run import selected

    check_new(file)
    report = _examined(session, selected(None, None))
    return payloads.bundled(file, write_bundle(file, report.facts, lightragctl.__version__), report)
