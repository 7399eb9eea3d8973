"""Runs the command line in forks of a process that has imported it: imports are most of what a short command costs.

A command still has a process of its own, with its arguments, directory, environment, standard streams and signals.
What is read when an interpreter starts, or a package is imported, needs an interpreter of its own: see `can_fork`.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[1]
LANG = "C.UTF-8"
READ_LATE = {"HOME", "PATH", "LANG"}
NOT_IMPORTED = ("lightragctl.service", "lightragctl.__main__")


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a command with this environment does in a fork what it does in an interpreter of its own.

    Other variables may be read when Python starts, as `PYTHONIOENCODING` is, or when a package is imported, as the
    client of Kubernetes reads `KUBECONFIG` and Typer `FORCE_COLOR`.
    """
    return environ.get("LANG") == LANG and all(name in READ_LATE or name.startswith("LIGHTRAGCTL_") for name in environ)


@dataclass(frozen=True)
class Launcher:
    """The process that forks, reached by a socket. It ends when the socket is closed, so with this process."""

    door: socket.socket
    process: subprocess.Popen[bytes]

    def run(
        self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, stdin: str | None, timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as `subprocess.run(..., text=True, capture_output=True, input=stdin)` does."""
        words = ["lightragctl", *arguments]
        with contextlib.ExitStack() as held:
            asked, out, err = (held.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            asked.write(json.dumps({"words": words, "environ": dict(environ), "cwd": str(cwd)}).encode())
            asked.seek(0)
            near, far = socket.socketpair()
            held.enter_context(near)
            with far, fed(stdin) as entry:
                socket.send_fds(self.door, [b"!"], [asked.fileno(), entry, out.fileno(), err.fileno(), far.fileno()])
            status = ended(near, timeout_s)
            if status is None:
                raise subprocess.TimeoutExpired(words, timeout_s, text_of(out), text_of(err))
            return subprocess.CompletedProcess(words, status, text_of(out), text_of(err))


def ended(replies: socket.socket, timeout_s: float) -> int | None:
    """The exit status of the command, or None when it was killed because its time was over, which begins with it."""
    with replies.makefile() as lines:
        pid = int(lines.readline())
        replies.settimeout(timeout_s)
        try:
            return int(lines.readline())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            return None


def text_of(stream: io.BufferedRandom) -> str:
    """All that was written to the file, its line ends as `subprocess` gives them."""
    stream.seek(0)
    return io.TextIOWrapper(stream, encoding="utf-8").read()


@contextlib.contextmanager
def fed(text: str | None) -> Iterator[int]:
    """The end of a pipe that the text comes out of, or the null device; it may be closed here once it is passed on."""
    if text is None:
        with open(os.devnull, "rb") as nothing:
            yield nothing.fileno()
        return
    entry, source = os.pipe()
    threading.Thread(target=feed, args=(source, text.encode()), daemon=True).start()
    try:
        yield entry
    finally:
        os.close(entry)


def feed(descriptor: int, content: bytes) -> None:
    """Write it all and close; a reader that has gone is no error."""
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(content)


@functools.cache
def launcher() -> Launcher:
    """The launcher of this process, started when it is first asked for."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with far:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.launcher", str(far.fileno())],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "LANG": LANG},
            pass_fds=[far.fileno()],
            stdin=subprocess.PIPE,  # pipes, for what Python finds out about its streams when it starts
            stdout=subprocess.PIPE,
        )
    atexit.register(end, near, process)
    return Launcher(near, process)


def end(door: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Let the launcher end."""
    door.close()
    process.communicate()


@dataclass
class Forking:
    """Inside the launcher: a fork for each request, and the exit status of each fork to whoever asked."""

    door: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def serve(self) -> dict[str, Any] | None:
        """Take requests until the door is closed. Returns the request in the fork that is to run it, else None."""
        self.selector.register(self.door, selectors.EVENT_READ)
        while True:
            for key, _ in self.selector.select():
                if key.data is not None:
                    self.report(key.fd, *key.data)
                    continue
                descriptors = socket.recv_fds(self.door, 1, 5)[1]
                if not descriptors:
                    return None
                if (request := self.fork(*descriptors)) is not None:
                    return request

    def fork(self, asked: int, entry: int, out: int, err: int, replies: int) -> dict[str, Any] | None:
        """The request, in the fork."""
        if pid := os.fork():
            for descriptor in (asked, entry, out, err):
                os.close(descriptor)
            with contextlib.suppress(BrokenPipeError):  # who asked has gone
                os.write(replies, f"{pid}\n".encode())
            self.selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, replies))
            return None
        self.door.close()
        for descriptor, standard in ((entry, 0), (out, 1), (err, 2)):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        os.close(replies)
        with open(asked, "rb") as file:
            request: dict[str, Any] = json.load(file)
        return request

    def report(self, pidfd: int, pid: int, replies: int) -> None:
        """Tell the exit status of a fork that has ended."""
        self.selector.unregister(pidfd)
        os.close(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(BrokenPipeError), open(replies, "wb") as pipe:
            pipe.write(f"{status}\n".encode())


def import_all() -> None:
    """Import what commands import when they run, but for what only services need."""
    import lightragctl

    for module in pkgutil.walk_packages(lightragctl.__path__, "lightragctl."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    assert threading.active_count() == 1, "an import starts threads, which do not live on in a fork"
    gc.freeze()  # the collector would write to each page that the forks share


def main() -> None:
    """The launcher: `python -m tests.launcher DESCRIPTOR`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run, which ends this process too
    import_all()
    request = Forking(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is None:
        return
    from lightragctl.__main__ import main as command_line

    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = request["words"]
    try:
        command_line()
    except SystemExit as end:
        leave(end.code)


def leave(status: object) -> NoReturn:
    """End this fork as an interpreter ends, without taking all modules apart, which takes ten times a fork's time."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    main()
