"""What the end of a profiling command means: its profile, or why there is none. Pure."""

import html
import re

from lightragctl.core.errors import LightragctlError, NotRunningError
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.profiler.model import Request, Target, Tool
from lightragctl.diagnose.profiler.plan import GET_PY_SPY, SIGQUIT, CannotProfileError
from lightragctl.kube.streams import Output
from lightragctl.service.stack_dump import STACK_DUMP_SIGNAL

_ARGUMENTS = re.compile(rb"^(Process \d+: \S+).*$", re.MULTILINE)
"""py-spy prints the command line of each process; arguments may be secret."""
_FRAME = re.compile(rb"(process \d+):&quot;([^\s<&]+)[^<]*?(?:&quot;(?= \(\d+ samples|<)|\.\.(?=<))")
"""The same in a flame graph, whole in a title, cut off with two dots in a narrow label."""
_TITLE = re.compile(rb'(<text id="title"[^>]*>)[^<]*')
_IDLE = ("No stack counts found",)
_GONE = ("No such process", "process has exited", "No such file or directory (os error 2)")
_DENIED = ("Permission Denied", "Permission denied", "Operation not permitted")
_OTHER_PYTHON = ("Failed to find python version", "Unsupported version of Python")


def dump_signal(tool: Tool) -> int:
    """The signal on which a process writes its stacks."""
    return SIGQUIT if tool is Tool.SIGQUIT else int(STACK_DUMP_SIGNAL)


def dump_marker(tool: Tool) -> str:
    """A text in the first line of such a dump."""
    return "Full thread dump" if tool is Tool.SIGQUIT else "(most recent call first)"


def checked(found: Output, target: Target, request: Request) -> bytes:
    """What the command wrote.

    Raises:
        LightragctlError: it failed; says why and what to do.
    """
    if found.status == 0 and (found.stdout.strip() or not found.stderr.strip()):
        return tidy(found.stdout, f"{target.name}, {request.duration_s} s")
    text = found.stderr.decode(errors="replace")
    if any(words in text for words in _IDLE):
        message = f"{target.name} executed no code in {request.duration_s} s: there are no samples"
        raise CannotProfileError(message, "send it requests meanwhile, or use --format dump")
    if any(words in text for words in _GONE):
        raise NotRunningError(f"the process of {target.name} has ended", Hint("see why: ", Command("status")))
    if any(words in text for words in _DENIED):
        message = f"process {target.process.pid} of {target.name} may not be traced: {_reason(text)}"
        raise CannotProfileError(
            message, "run as its user or as root; in a pod, the node's seccomp profile may forbid it"
        )
    if any(words in text for words in _OTHER_PYTHON):
        raise CannotProfileError(f"py-spy cannot read {target.name}: {_reason(text)}", f"a newer one: {GET_PY_SPY}")
    raise LightragctlError(f"profiling {target.name} failed: {_reason(text)}", "use --format dump, or --verbose")


def tidy(content: bytes, title: str) -> bytes:
    """A dump or flame graph of py-spy without the arguments of processes, and with a title."""
    shown = html.escape(title).encode()
    content = _FRAME.sub(rb"\1: \2", _ARGUMENTS.sub(rb"\1", content))
    return _TITLE.sub(lambda found: found[1] + shown, content)


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.partition("Stack backtrace")[0].splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error") or "ermission" in line]
    return (errors or lines or ["no output"])[0][:300]
