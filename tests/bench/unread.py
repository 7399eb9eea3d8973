"""What clients that send requests ahead and read nothing cost a service, and whom they hold up."""

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from tests.milvus.fixtures import free_port

AHEAD_BYTES = 263 * 1024
SECONDS = 8.0
MIB = 1024 * 1024


def main() -> None:
    """Print the memory of a mock-llm and the latency of /healthz while 4 and 16 such clients are there."""
    print(f"{'requests':<16} {'clients':>7} {'RSS before':>10} {'highest':>8} {'healthz':>8} {'slowest':>8}")
    for count in (4, 16):
        for path in ("/openapi.json", "/metrics"):
            with mock_llm() as (port, process):
                before = process.memory_info().rss
                highest, latencies_s = attacked(port, process, path, count)
            print(
                f"{path:<16} {count:>7} {before / MIB:>6.0f} MiB {highest / MIB:>4.0f} MiB"
                f" {len(latencies_s):>8} {max(latencies_s):>7.2f}s"
            )


def attacked(port: int, process: psutil.Process, path: str, count: int) -> tuple[int, list[float]]:
    """The highest RSS, in bytes, and the latencies of an innocent client's /healthz."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    latencies_s: list[float] = []
    with ExitStack() as opened:
        innocent = opened.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120))
        for _ in range(count):
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(SECONDS)
            client.connect(("127.0.0.1", port))
            threading.Thread(target=send, args=(client, request * (AHEAD_BYTES // len(request))), daemon=True).start()
        end_s = time.monotonic() + SECONDS
        highest = 0
        while time.monotonic() < end_s:
            begin_s = time.monotonic()
            innocent.get("/healthz").raise_for_status()
            latencies_s.append(time.monotonic() - begin_s)
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.02)
    return highest, latencies_s


def send(client: socket.socket, data: bytes) -> None:
    """Send all, or as much as the service takes."""
    try:
        client.sendall(data)
    except OSError:
        return


@contextmanager
def mock_llm() -> Iterator[tuple[int, psutil.Process]]:
    """A mock-llm as a process of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.json"
        settings.write_text(json.dumps({"port": port}))
        command = [sys.executable, "-m", "lightragctl", "serve", "mock-llm", "--settings", str(settings)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                wait_until_up(port)
                yield port, psutil.Process(process.pid)
            finally:
                process.terminate()


def wait_until_up(port: int) -> None:
    """Wait for its first answer, for 30 s."""
    for _ in range(300):
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("mock-llm does not start")
