"""The commands that profile a process, for a shell in its container. Pure.

Each is a script for `sh -c` with its arguments, so that no value is part of the script.
"""

import io
import tarfile
import zipfile
from collections.abc import Sequence

from lightragctl.core.errors import UsageError

FOLDER = "lightragctl-arthas"
ARTHAS_FILES = (
    "arthas-boot.jar",
    "arthas-core.jar",
    "arthas-agent.jar",
    "arthas-spy.jar",
    "arthas-client.jar",
    "arthas.properties",
    "logback.xml",
    "lib/libArthasJniLibrary-x64.so",
    "lib/libArthasJniLibrary-aarch64.so",
    "async-profiler/libasyncProfiler-linux-x64.so",
    "async-profiler/libasyncProfiler-linux-arm64.so",
)
_ARTHAS_PORT = "45731"
"""The agent listens on it on loopback while it is attached."""
_RECORD = """
out="$2/lightragctl-$$.svg"
trap 'rm -f "$out"' EXIT
"$1" record --nonblocking --subprocesses --pid "$3" --duration "$4" --output "$out" >&2 || exit $?
cat "$out"
"""
"""Without pausing the process: pauses wake threads that wait in the kernel, which then count as active."""
_UNPACK = 'mkdir -p "$1" && head -c "$2" | tar -x -C "$1"'
_ATTACH = """
cd "$1" || exit 1
exec java -Duser.home="$1" -jar arthas-boot.jar --arthas-home "$1" --target-ip 127.0.0.1 --http-port -1 \
  --telnet-port "$2" -c "$4" "$3"
"""
START = "profiler start --event itimer"
"""Samples by a timer: containers have no access to the counters of the CPU."""


def shell(script: str, *arguments: object) -> list[str]:
    """The command line of a script."""
    return ["sh", "-c", script, "sh", *map(str, arguments)]


def py_spy_record(program: str, scratch: str, pid: int, duration_s: int) -> list[str]:
    """Writes a flame graph to standard output; children of the process are in it."""
    return shell(_RECORD, program, scratch, pid, duration_s)


def py_spy_dump(program: str, pid: int) -> list[str]:
    """Writes the stacks to standard output; without local variables, whose values may be secret."""
    return [program, "dump", "--subprocesses", "--pid", str(pid)]


def send_signal(number: int, pid: int) -> list[str]:
    """Sends a signal."""
    return shell('kill -"$1" "$2"', number, pid)


def unpack_arthas(folder: str, size: int) -> list[str]:
    """Unpacks `size` bytes of standard input, an archive of `pack_arthas`, into a new folder."""
    return shell(_UNPACK, folder, size)


def arthas_commands(folder: str, pid: int, commands: str) -> list[str]:
    """Attaches Arthas to the JVM and runs its commands, separated by `;`."""
    return shell(_ATTACH, folder, _ARTHAS_PORT, pid, commands)


def stop(folder: str) -> str:
    """Commands of Arthas: write the flame graph, end the agent."""
    return f"profiler stop --format flamegraph --file {folder}/profile.html; stop"


def read_graph(folder: str) -> list[str]:
    """Writes the flame graph to standard output."""
    return ["cat", f"{folder}/profile.html"]


def remove(folder: str) -> list[str]:
    """Removes what was unpacked."""
    return ["rm", "-rf", folder]


def pack_arthas(archive: bytes) -> bytes:
    """What Linux needs of Arthas's archive, as tar.

    Raises:
        UsageError: it is not an archive of Arthas.
    """
    packed = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as source, tarfile.open(fileobj=packed, mode="w") as target:
            for name in ARTHAS_FILES:
                content = source.read(name)
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                target.addfile(entry, io.BytesIO(content))
    except (zipfile.BadZipFile, KeyError) as error:
        raise UsageError(
            f"this is no archive of Arthas 4: {error}", "pass the archive arthas-packaging-*-bin.zip"
        ) from error
    return packed.getvalue()


def new_dump(before: Sequence[str], after: Sequence[str], marker: str) -> str:
    """The stack dump that the log has in `after` and not in `before`; empty while there is none.

    Args:
        before: the last lines of the log before the signal.
        after: the last lines after it, no fewer: earlier ones may be gone.
        marker: a text in the first line of each dump.
    """
    shift = next(by for by in range(len(before) + 1) if list(after[: len(before) - by]) == list(before[by:]))
    lines = after[len(before) - shift :]
    begin = next((number for number, line in enumerate(lines) if marker in line), len(lines))
    return "".join(f"{line}\n" for line in lines[begin:])
