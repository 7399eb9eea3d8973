"""diagnose profiler."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from lightragctl.cli.options import Session
from lightragctl.core.result import Result

Target = Annotated[
    str,
    typer.Argument(
        metavar="POD", help="Pod, or component of the release; on this machine a component.", show_default=False
    ),
]
Duration = Annotated[int, typer.Option("--duration", metavar="SECONDS", min=1, max=600, help="Seconds of sampling.")]
Kind = Annotated[
    Literal["flamegraph", "dump"],
    typer.Option("--format", help="A flame graph of the CPU time, or the stacks of all threads once."),
]
Save = Annotated[
    Path | None,
    typer.Option(
        "--save",
        metavar="FILE",
        help="File to write. (default: a new file named after POD; a dump is printed)",
        show_default=False,
    ),
]
Archive = Annotated[
    Path | None,
    typer.Option(
        "--arthas",
        metavar="FILE",
        help="Archive of Arthas 4 (arthas-packaging-4.0.5-bin.zip), for a flame graph of a JVM.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show tool, rights and effects; change and sample nothing.")]


def profiler(
    session: Session,
    pod: Target,
    duration: Duration = 10,
    format: Kind = "flamegraph",
    save: Save = None,
    arthas: Archive = None,
    dry_run: DryRun = False,
) -> Result:
    """Profile a process: Python with py-spy, the JVM with Arthas, Milvus with pprof.

    Uses the access with the least rights that works: a command in the container, else an ephemeral container, which
    cannot be removed and is added only after confirmation or with --yes. Where neither is permitted, or no tool is
    there, the built-in stack dump is taken; then the exit status is 4 if a flame graph was requested.

    \b
    Examples:
      lightragctl diagnose profiler lightrag-api
      lightragctl diagnose profiler lightrag-api --format dump
      lightragctl diagnose profiler dev-kafka-0 --profile staging --arthas arthas-packaging-4.0.5-bin.zip
      lightragctl diagnose profiler vector-engine --profile dev --duration 30 --save milvus.pb.gz
      lightragctl diagnose profiler model-gateway --profile dev --dry-run
    """
    from lightragctl.cli.diagnose import payloads
    from lightragctl.diagnose.output_file import check_new, write_new
    from lightragctl.diagnose.profiler.model import Access, Artifact, Request
    from lightragctl.diagnose.profiler.run import Profiling, check_archive

    check_archive(arthas)
    if save is not None:
        check_new(save)
    work = Profiling(session.release, pod, Request(Artifact(format), duration, arthas is not None), arthas)
    if dry_run:
        return payloads.planned_profile(work.target, work.plan)
    if work.plan.access is Access.EPHEMERAL_CONTAINER:
        session.confirm(f"Add an ephemeral container, which cannot be removed, to {work.target.name}?")
    with session.out.live() as notify:
        profile = work.profile(notify)
    file = save
    if file is None and work.plan.artifact is Artifact.FLAMEGRAPH:
        file = Path(f"{pod.rpartition('/')[2]}-{datetime.now():%Y%m%d-%H%M%S}{work.plan.suffix}")
    if file is not None:
        write_new(file, profile.content)
    return payloads.profiled(work.target, work.plan, profile, file)
