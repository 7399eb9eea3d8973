"""What a shell in a container reports of itself and its processes: the script, and the meaning of its output. Pure."""

import os
from collections.abc import Iterable, Sequence

from lightragctl.diagnose.profiler.model import Language, Process, Surroundings

SCRIPT = r"""
echo "uid $(id -u)"
echo "architecture $(uname -m)"
read scope < /proc/sys/kernel/yama/ptrace_scope && echo "ptrace_scope $scope"
echo "py_spy $(command -v py-spy)"
echo "java $(command -v java)"
command -v tar >/dev/null && echo "tar yes"
for folder in /tmp /dev/shm "$HOME"; do [ -d "$folder" ] && [ -w "$folder" ] && echo "scratch $folder" && break; done
for one in /proc/[0-9]*; do
  [ -r "$one/status" ] || continue
  uid=; caught=
  while read key first second rest; do
    case $key in Uid:) uid=$second ;; SigCgt:) caught=$first ;; esac
  done < "$one/status"
  [ -n "$caught" ] && echo "process ${one#/proc/} $uid $caught $(readlink "$one/exe")"
done
exit 0
"""
"""For a POSIX shell. /proc/PID/exe is readable for the process's own user alone."""

NO_PROCESS = Process(0, 0, "")
"""Where none is found, and behind an HTTP endpoint, which needs no PID."""
_JVM = ("java",)
_GO = ("milvus", "etcd", "minio", "versitygw")


def parse(text: str) -> Surroundings:
    """The meaning of the script's output; lines that it cannot have written are skipped."""
    found: dict[str, str] = {}
    processes = []
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key == "process":
            processes.append(_process(value.split(" ", 3)))
        elif key:
            found.setdefault(key, value)
    return Surroundings(
        uid=_number(found.get("uid", "")),
        architecture=found.get("architecture", ""),
        ptrace_scope=_number(found.get("ptrace_scope", "")),
        py_spy=found.get("py_spy", ""),
        java=found.get("java", ""),
        tar="tar" in found,
        scratch=found.get("scratch", ""),
        processes=[one for one in processes if one is not None],
    )


def _process(words: Sequence[str]) -> Process | None:
    try:
        return Process(int(words[0]), int(words[1]), words[3] if len(words) > 3 else "", int(words[2], 16))
    except (ValueError, IndexError):
        return None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def language(executable: str) -> Language:
    """What runs a program, by its name."""
    name = os.path.basename(executable)
    if name.startswith("python"):
        return Language.PYTHON
    if name in _JVM:
        return Language.JVM
    return Language.GO if name in _GO else Language.UNKNOWN


def main_process(processes: Iterable[Process]) -> Process | None:
    """The first process of a known language, in the order of their start; None if there is none."""
    known = [one for one in processes if language(one.executable) is not Language.UNKNOWN]
    return min(known, key=lambda one: one.pid, default=None)
