"""Machines made of namespaces: network, processes, mounts and host name of their own, on the kernel of this one.

A machine lives as long as its first process. When that is killed the kernel ends everything in its process namespace,
containers and their shims too, and drops its mounts: nothing can be forgotten. Every process of a cluster has the
cluster's folder in its environment, and is recognised by that and not by a number that may belong to another by now.
"""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.commands import last_lines, wait_until
from tests.cluster.kept import ClusterError

MARK = "LIGHTRAGCTL_TEST_CLUSTER"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PRIVATE = {"/var/log": "log", "/var/lib/kubelet": "kubelet"}
"""Places that programs of a node have by name: each node sees a folder of its own there, and its own empty /run."""
CGROUPS = Path("/sys/fs/cgroup")
SETUP = """set -e
mount --make-rshared /
hostname {machine}
{binds}
mount -t tmpfs tmpfs /run
mkdir /run/lock
for setting in ipv4/ip_forward bridge/bridge-nf-call-iptables; do
  if [ -w /proc/sys/net/$setting ]; then echo 1 > /proc/sys/net/$setting; fi
done
touch {ready}
exec env --ignore-signal=CHLD sleep infinity
"""
"""Children that lost their parent come to the first process; it ignores that they end, so they leave no zombies."""


@dataclass
class Machine:
    """One machine of a cluster; `folder` is the cluster's."""

    folder: Path
    name: str
    namespace: str
    first: subprocess.Popen[bytes] | None = None
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def own(self) -> Path:
        """The machine's disk."""
        return self.folder / self.name

    def boot(self) -> None:
        """Makes the namespaces; its first process holds them."""
        ready = self.own / "booted"
        binds = []
        for place, name in PRIVATE.items():
            (self.own / name).mkdir(parents=True, exist_ok=True)
            Path(place).mkdir(parents=True, exist_ok=True)
            binds.append(f"mount --bind {self.own / name} {place}")
        setup = SETUP.format(machine=self.name, binds="\n".join(binds), ready=ready)
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        isolate = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.first = self._spawn("boot", [*enter, *isolate, "sh", "-c", setup])
        wait_until(f"{self.name} boots", lambda: self.failed("boot") or ("" if ready.exists() else "no sign"), 10, 0.02)

    def start(self, part: str, *command: str) -> None:
        """Starts a program inside; its log is `logs/MACHINE-PART.log`."""
        assert self.first is not None, f"{self.name} has not booted"
        pid = self.first.pid
        inside = ["nsenter", f"--target={pid}", "--mount", "--uts", "--net", f"--pid=/proc/{pid}/ns/pid_for_children"]
        self.parts[part] = self._spawn(part, [*inside, *command])

    def failed(self, part: str) -> str:
        """Nothing while a program runs; else an error with the end of its log is raised."""
        process = self.first if part == "boot" else self.parts[part]
        if process is not None and process.poll() is not None:
            raise ClusterError(f"{part} on {self.name} ended with {process.returncode}:\n{self.log_tail(part)}")
        return ""

    def log_tail(self, part: str) -> str:
        """The end of a program's log."""
        return last_lines(self._log(part).read_text(errors="replace"))

    def _log(self, part: str) -> Path:
        return self.folder / "logs" / f"{self.name}-{part}.log"

    def _spawn(self, part: str, command: list[str]) -> subprocess.Popen[bytes]:
        env = {"PATH": PATH, "HOME": str(self.own), MARK: str(self.folder)}
        with self._log(part).open("ab") as log:
            return subprocess.Popen(
                command,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def processes_of(folder: Path) -> dict[int, str]:
    """The processes of a cluster (pods apart), each with its command."""
    mark = f"{MARK}={folder}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
    return found


def end_processes(folder: Path) -> None:
    """Kills the processes of a cluster, and waits until they are gone."""
    end = time.monotonic() + 20
    while left := processes_of(folder):
        for pid in left:
            _kill(pid, folder)
        if time.monotonic() > end:
            raise ClusterError(f"these processes do not end: {left}")
        time.sleep(0.05)


def _kill(pid: int, folder: Path) -> None:
    """Holds on to the process before looking at it once more, so that its number cannot change hands in between."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if f"{MARK}={folder}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (ProcessLookupError, FileNotFoundError):
        return
    finally:
        os.close(handle)


def make_cgroup(name: str) -> None:
    """The cgroup that holds a node's pods, in every hierarchy (version 1) or in the one (version 2)."""
    if (CGROUPS / "cgroup.controllers").exists():
        (CGROUPS / name).mkdir(exist_ok=True)
        return
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir(exist_ok=True)
    cpuset = CGROUPS / "cpuset"
    for setting in ("cpuset.cpus", "cpuset.mems") if cpuset.is_dir() else ():
        (cpuset / name / setting).write_text((cpuset / setting).read_text())  # kubelet does not fill them in


def remove_cgroups(prefix: str) -> None:
    """Removes the cgroups of a cluster; their processes may take a moment to be gone."""
    wait_until(f"cgroups {prefix}* are empty", lambda: _cgroups_left(prefix), 20, 0.1)


def _cgroups_left(prefix: str) -> str:
    reason = ""
    for hierarchy in [CGROUPS, *_hierarchies()]:
        for top in hierarchy.glob(f"{prefix}*"):
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError as problem:
                    reason = str(problem)
    return reason


def remove_mount_points() -> None:
    """Removes the empty folder that nodes needed on this machine to mount their own over, unless others use it."""
    if not any(MARK.encode() in _environ(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with contextlib.suppress(OSError):  # somebody's own, not empty
            Path("/var/lib/kubelet").rmdir()


def _environ(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


def _hierarchies() -> list[Path]:
    return [entry for entry in CGROUPS.iterdir() if entry.is_dir() and (entry / "cgroup.procs").exists()]
