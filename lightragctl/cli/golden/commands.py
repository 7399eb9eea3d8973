"""golden build, show, check: queries with known correct answers, and how well a release answers them."""

from pathlib import Path
from typing import Annotated

import typer

from lightragctl.cli.data.commands import Workspace
from lightragctl.cli.options import Session
from lightragctl.core.result import Result

_MOST = 1000
_MOST_K = 100
"""What lightrag-api gives at most by default, and what fits into a row of the control collection."""


def build(
    session: Session,
    sample: Annotated[
        int,
        typer.Option("--sample", metavar="N", help="Number of stored passages to sample as queries.", min=0, max=_MOST),
    ] = 50,
    recorded: Annotated[
        int, typer.Option("--recorded", metavar="N", help="Maximum number of recorded questions.", min=0, max=_MOST)
    ] = 50,
    questions: Annotated[
        Path | None, typer.Option("--questions", metavar="FILE", help="File with additional questions, one per line.")
    ] = None,
    k: Annotated[
        int,
        typer.Option(
            "--top-k", "-k", metavar="N", help="Number of nearest passages to store per query.", min=1, max=_MOST_K
        ),
    ] = 10,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Random seed of the sample.")] = 0,
    workspace: Workspace = None,
) -> Result:
    """Build a golden set: find the exact answers to a sample of queries by comparing them with every passage.

    \b
    Examples:
      lightragctl golden build
      lightragctl golden build --sample 200 --questions asked.txt
      lightragctl golden build -w manuals -k 20 --seed 1
    """
    import time

    from lightragctl.bench.questions import read
    from lightragctl.cli.golden import payloads
    from lightragctl.release import golden

    given = read(questions).texts if questions else []
    place = golden.place(session.release, workspace)
    options = golden.BuildOptions(sample, recorded, given, k, seed)
    with session.out.live() as notify:
        built = golden.build(session.release, place, options, int(time.time()), notify)
    return payloads.golden_build(place.workspace, built)


def show(session: Session, workspace: Workspace = None) -> Result:
    """Show the golden set: when and from what it was built, and its queries with their nearest passages.

    \b
    Examples:
      lightragctl golden show
      lightragctl golden show -w manuals -o json
    """
    from lightragctl.cli.golden import payloads
    from lightragctl.release import golden

    place = golden.place(session.release, workspace)
    found, versions = golden.known(session.release, place)
    return payloads.golden_show(place.workspace, found, versions)


def check(
    session: Session,
    k: Annotated[
        int | None,
        typer.Option(
            "--top-k", "-k", metavar="N", help="Number of results to compare. (default: that of the set)", min=1
        ),
    ] = None,
    min_recall: Annotated[
        float,
        typer.Option("--min-recall", metavar="RATIO", help="Minimum recall; exit status 3 below it.", min=0, max=1),
    ] = 0.9,
    min_overlap: Annotated[
        float | None,
        typer.Option(
            "--min-overlap",
            metavar="RATIO",
            help="Minimum overlap with the set; exit status 3 below it. (default: none)",
            min=0,
            max=1,
        ),
    ] = None,
    workspace: Workspace = None,
) -> Result:
    """Run the queries of the golden set: recall of the index, and overlap with the answers at build time.

    Exit status 3: a metric is below its minimum with 95 % confidence; 4: rows have changed, or too few queries.

    \b
    Examples:
      lightragctl golden check
      lightragctl golden check -k 5 --min-recall 0.95 --min-overlap 0.9
    """
    from lightragctl.cli.golden import payloads
    from lightragctl.quality.golden import Floors
    from lightragctl.quality.golden_store import CheckOptions
    from lightragctl.release import golden

    place = golden.place(session.release, workspace)
    with session.out.live() as notify:
        report = golden.check(session.release, place, CheckOptions(k, Floors(min_recall, min_overlap)), notify)
    return payloads.golden_check(place.workspace, report)
