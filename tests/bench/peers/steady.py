"""Open-loop load: so many requests a second at fixed times, whatever the answers do; latency from the intended time.

    python -m tests.bench.peers.steady PORT RATE SECONDS

Prints one JSON document: sent, answered by status, p50 and p99 in ms of the good ones, the greatest lateness of a send,
and of the refusals how their Retry-After (ms) compares with nothing else: its median.
"""

import asyncio
import gc
import json
import re
import sys
import time
from collections import Counter

import numpy as np
import uvloop

PORT, RATE, SECONDS = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
CONNECTIONS = 512
STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
RETRY_MS = re.compile(rb"retry-after-ms: (\d+)", re.IGNORECASE)


class Run:
    """The connections that are free, and what came back."""

    def __init__(self) -> None:
        self.free: asyncio.LifoQueue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.LifoQueue()
        self.statuses: Counter[int] = Counter()
        self.good_s: list[float] = []
        self.refused_ms: list[int] = []
        self.late_s = 0.0

    async def connect(self) -> None:
        for _ in range(CONNECTIONS):
            self.free.put_nowait(await asyncio.open_connection("127.0.0.1", PORT))

    async def ask(self, number: int, due: float) -> None:
        reader, writer = await self.free.get()
        body = b'{"query": "question number %d of a steady stream", "top_k": 5}' % number
        head = b"POST /retrieve HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        found, length = STATUS.match(answer), LENGTH.search(answer)
        assert found is not None
        assert length is not None
        await reader.readexactly(int(length[1]))
        status = int(found[1])
        self.statuses[status] += 1
        if status == 200:
            self.good_s.append(time.perf_counter() - due)
        elif wait := RETRY_MS.search(answer):
            self.refused_ms.append(int(wait[1]))
        self.free.put_nowait((reader, writer))


async def main() -> None:
    run = Run()
    await run.connect()
    gc.collect()
    gc.disable()
    base, begin = time.monotonic_ns() % 10**9, time.perf_counter() + 0.1
    tasks = []
    for number in range(int(RATE * SECONDS)):
        due = begin + number / RATE
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)  # a timer is a millisecond late; spinning would take a core from the servers
        run.late_s = max(run.late_s, time.perf_counter() - due)
        tasks.append(asyncio.create_task(run.ask(base + number, due)))
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    p50, p99 = np.percentile(run.good_s or [0.0], [50, 99]) * 1000
    seconds = time.perf_counter() - begin
    answered = {str(status): count for status, count in sorted(run.statuses.items())}
    refused = float(np.median(run.refused_ms)) if run.refused_ms else None
    told = {
        "sent": len(tasks),
        "seconds": round(seconds, 1),
        "answered": answered,
        "good_per_s": run.statuses[200] / seconds,
    }
    times = {"p50_ms": p50, "p99_ms": p99, "latest_send_ms": run.late_s * 1000, "retry_after_ms": refused}
    print(json.dumps({**told, **times}))


uvloop.run(main())
