"""Starts the real Milvus 2.3.5, the server inside the PyPI wheel `milvus`, for one test session.

As root it gets a network namespace of its own, because its ports (2379, 9091 and more) are fixed; the host reaches it
over a veth pair. Without root it takes those ports on loopback, one server at a time. What cannot run is skipped with
the reason. Everything it leaves outside the cache is named `lrmv<pid of the test run>`, so that a later run can clean
up after one that was killed.
"""

import contextlib
import fcntl
import ipaddress
import lzma
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lightragctl.vectors.sdk import MilvusClient, SdkError

VERSION = "2.3.5"
PREFIX = "lrmv"
GRPC_PORT, HEALTH_PORT, ETCD_PORT = 19530, 9091, 2379
FIXED_PORTS = (ETCD_PORT, HEALTH_PORT, GRPC_PORT)
LINKS = tuple(ipaddress.ip_network("192.0.2.128/25").subnets(new_prefix=30))[:-1]
"""Pairs of addresses out of the documentation range (RFC 5737)."""
NOTES = Path("/tmp/milvus")
"""Where Milvus leaves a file for each start, whatever its configuration says; and its pid, unless /run may be used."""
START_S = 180.0
"""A first start takes 5 to 10 s on two idle cores; one after a kill waits for the old session to expire, 30 s."""
STOP_S = 3.0
"""A standalone with data does not end on SIGTERM: not worth a longer wait."""
PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>[a-z_]+)(?:\(\w+\))?\s*(?::\s*(?P<value>[^}]*?))?\s*\}\}")


def cache_folder() -> Path:
    """Where downloads are kept between runs, outside the checkout."""
    if own := os.environ.get("LIGHTRAGCTL_TEST_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightragctl-test"


def installed(cache: Path, version: str = VERSION) -> Path:
    """The folder of the unpacked server, `{bin,data}`; downloads and unpacks it the first time."""
    target = cache / f"milvus-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "milvus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                unpack(download(Path(scratch), version), Path(scratch, "server"))
                Path(scratch, "server").rename(target)
    return target


def download(folder: Path, version: str) -> Path:
    """Fetches the wheel with pip, so from the index that pip is set up for."""
    asked = ["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), f"milvus=={version}"]
    command = [sys.executable, "-m", "pip", *asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    wheels = list(folder.glob("milvus-*.whl"))
    if done.returncode or not wheels:
        pytest.skip(f"pip cannot download milvus=={version}: {done.stderr.strip().splitlines()[-1:]}")
    return wheels[0]


def unpack(wheel: Path, target: Path) -> None:
    """Unpacks program and libraries into `bin` and keeps the configuration templates in `data`."""
    (target / "bin").mkdir(parents=True)
    (target / "data").mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".lzma"):
                program = target / "bin" / Path(name).stem
                program.write_bytes(lzma.decompress(archive.read(name)))
                program.chmod(0o755)
            elif name.endswith(("glog.conf", "config.yaml.template")):
                (target / "data" / Path(name).name).write_bytes(archive.read(name))


def configure(server: Path, data: Path) -> None:
    """Writes the configuration into the data folder: the wheel's own defaults, with all data in that folder."""
    values = {
        "etcd_data_dir": data / "etcd",
        "local_storage_dir": data / "storage",
        "rocksmq_data_dir": data / "rocksmq",
        "system_log_path": "",
    }
    text = (server / "data" / "config.yaml.template").read_text()
    filled = PLACEHOLDER.sub(lambda found: str(values.get(found["name"], found["value"] or "")), text)
    (data / "configs").mkdir(parents=True, exist_ok=True)
    (data / "configs" / "milvus.yaml").write_text(filled)
    shutil.copy(server / "data" / "glog.conf", data / "configs")


@dataclass
class MilvusServer:
    """One server. `kill` and `start` may be used for drills; the data stays until the end of the session."""

    program: Path
    data: Path
    host: str
    wrapper: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The address for a client."""
        return f"http://{self.host}:{GRPC_PORT}"

    def start(self) -> None:
        """Starts the program and waits until it can really be searched."""
        environ = {
            "PATH": os.defpath,
            "LD_LIBRARY_PATH": str(self.program.parent),
            "MILVUSCONF": str(self.data / "configs"),
        }
        command = [*self.wrapper, str(self.program), "run", "standalone", "-alias", self.data.name]
        with (self.data / "milvus.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.data, env=environ, stdout=log, stderr=log)
        with (self.data / "pids").open("a") as pids:
            pids.write(f"{self.process.pid}\n")
        self._wait_until_ready()

    def kill(self) -> None:
        """Ends it as a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Asks it to end, then ends it, and waits until it is gone."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        end, reason = time.monotonic() + START_S, "not asked yet"
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"Milvus ended with {self.process.returncode}:\n{self._log_tail()}")
            if not (reason := not_ready(self.host)):
                return
            time.sleep(0.5)
        self.stop()
        raise TimeoutError(f"Milvus is not ready after {START_S:.0f} s: {reason}\n{self._log_tail()}")

    def _log_tail(self) -> str:
        return "\n".join((self.data / "milvus.log").read_text(errors="replace").splitlines()[-20:])


def not_ready(host: str) -> str:
    """Why it cannot be searched yet, or nothing. Healthy alone does not mean searchable."""
    try:
        socket.create_connection((host, GRPC_PORT), 1).close()
        with urllib.request.urlopen(f"http://{host}:{HEALTH_PORT}/healthz", timeout=2) as answer:
            if (text := answer.read().decode()) != "OK":
                return text
        client = MilvusClient(f"http://{host}:{GRPC_PORT}", timeout=5, dedicated=True)
    except (OSError, *SdkError) as problem:
        return str(problem)
    try:
        client.drop_collection("ready_probe", timeout=5)
        client.create_collection("ready_probe", dimension=2, timeout=20)
        client.insert("ready_probe", [{"id": 1, "vector": [1.0, 0.0]}], timeout=5)
        hits = client.search("ready_probe", [[1.0, 0.0]], limit=1, timeout=10, consistency_level="Strong")
        client.drop_collection("ready_probe", timeout=5)
    except SdkError as problem:
        return str(problem)
    finally:
        client.close()
    return "" if hits[0] else "the row just written is not found"


@contextlib.contextmanager
def running_milvus(version: str = VERSION) -> Iterator[MilvusServer]:
    """A server for the length of the block. Skips the test when the machine cannot run one."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the Milvus of PyPI is for Linux on x86-64 only")
    program = installed(cache_folder(), version) / "bin" / "milvus"
    sweep()
    name = f"{PREFIX}{os.getpid()}"
    data = Path(tempfile.gettempdir(), name)
    data.mkdir()
    try:
        configure(program.parent.parent, data)
        with namespace(name) if can_isolate() else loopback() as (host, wrapper):
            server = MilvusServer(program, data, host, wrapper)
            try:
                server.start()
                yield server
            finally:
                server.stop()
    finally:
        remove(data)


def remove(data: Path) -> None:
    """Removes the data and what Milvus left elsewhere."""
    for pid in pids_of(data):
        (NOTES / f"server_id_{pid}").unlink(missing_ok=True)
    for folder in (NOTES, Path("/run/milvus")):
        (folder / f"standalone-{data.name}.pid").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another server has files there
            folder.rmdir()
    shutil.rmtree(data, ignore_errors=True)


def pids_of(data: Path) -> list[int]:
    """The processes that were started on this data folder, oldest first."""
    noted = data / "pids"
    return [int(line) for line in noted.read_text().split()] if noted.exists() else []


def can_isolate() -> bool:
    """True where namespaces can be made: as root, with iproute2."""
    tools = all(shutil.which(tool) for tool in ("ip", "nsenter"))
    return os.geteuid() == 0 and tools and not ip("netns")


def ip(*arguments: str) -> str:
    """Runs `ip`; gives its complaint, or nothing when it did what was asked."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=False)
    return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else ""


@contextlib.contextmanager
def namespace(name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A network namespace joined to the host; gives the address inside and the words before a command that enter it."""
    outside, inside = free_link()
    steps = (
        ("netns", "add", name),
        ("link", "add", f"{name}h", "type", "veth", "peer", "name", f"{name}n"),
        ("link", "set", f"{name}n", "netns", name),
        ("addr", "add", f"{outside}/30", "dev", f"{name}h"),
        ("link", "set", f"{name}h", "up"),
        ("-n", name, "addr", "add", f"{inside}/30", "dev", f"{name}n"),
        ("-n", name, "link", "set", f"{name}n", "up"),
        ("-n", name, "link", "set", "lo", "up"),
        ("-n", name, "route", "add", "default", "via", outside),
    )
    try:
        for step in steps:
            if problem := ip(*step):
                pytest.skip(f"ip {' '.join(step)}: {problem}")
        yield inside, ("nsenter", f"--net=/run/netns/{name}", "--")
    finally:
        ip("link", "del", f"{name}h")
        ip("netns", "del", name)


def free_link() -> tuple[str, str]:
    """Two neighbouring addresses that the host does not use yet."""
    shown = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, timeout=10, check=True).stdout
    taken = [ipaddress.ip_interface(found).ip for found in re.findall(r"inet (\S+)", shown)]
    for link in LINKS:
        if not any(address in link for address in taken):
            outside, inside = link.hosts()
            return str(outside), str(inside)
    pytest.skip("no address of 192.0.2.128/25 is free")


@contextlib.contextmanager
def loopback() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The fixed ports of this machine, for one server at a time: the name of a socket is the lock."""
    if NOTES.exists() and not os.access(NOTES, os.W_OK):
        pytest.skip(f"Milvus needs {NOTES}, which is another user's")
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0{PREFIX}")
        except OSError:
            pytest.skip("another test run has the Milvus of this machine; as root each would have its own")
        for port in FIXED_PORTS:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    pytest.skip(f"port {port} is taken by {holder(port)}; as root, with iproute2, it would not matter")
        yield "127.0.0.1", ()


def holder(port: int) -> str:
    """Who listens on a port of this machine, as far as we may see."""
    import psutil

    for connection in psutil.net_connections("tcp"):
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN and connection.pid:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"


def sweep() -> None:
    """Removes what killed runs left: processes first, then namespaces (links go with them) and data."""
    for data in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_stale(data.name):
            end_stale_process(data)
            remove(data)
    namespaces = Path("/run/netns")
    for entry in namespaces.glob(f"{PREFIX}*") if namespaces.is_dir() else ():
        if is_stale(entry.name):
            ip("link", "del", f"{entry.name}h")
            ip("netns", "del", entry.name)


def is_stale(name: str) -> bool:
    """True for our name with the pid of a process that is gone."""
    number = name.removeprefix(PREFIX)
    return number.isdigit() and not Path("/proc", number).exists()


def end_stale_process(data: Path) -> None:
    """Ends the server of a killed run, if the last pid it noted is still that: a process that works in this folder."""
    for pid in pids_of(data)[-1:]:
        process = Path("/proc", str(pid))
        end = time.monotonic() + 10
        while is_working_in(process, data) and time.monotonic() < end:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)


def is_working_in(process: Path, data: Path) -> bool:
    """True for a process of `/proc` that is alive and has this working directory."""
    try:
        return (process / "cwd").readlink() == data
    except OSError:
        return False
