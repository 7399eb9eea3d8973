"""AsyncMilvusClient called directly by N tasks that do nothing else; prints calls per second, p50 and p99 in ms.

python -m tests.bench.peers.direct TASKS SECONDS MILVUS_URI COLLECTION DIMENSION
"""

import asyncio
import sys
import time

import numpy as np
from pymilvus import AsyncMilvusClient

from tests.bench.peers.vectors import questions

TASKS, SECONDS, URI, COLLECTION, DIMENSION = sys.argv[1:6]


async def main() -> None:
    vectors = questions(4096, 50_000, int(DIMENSION))
    client = AsyncMilvusClient(URI)
    took: list[float] = []
    begin = time.perf_counter()
    end = begin + float(SECONDS)

    async def ask(number: int) -> None:
        while (started := time.perf_counter()) < end:
            number += 1
            await client.search(
                COLLECTION,
                [vectors[number * 31 % 4096]],
                limit=5,
                output_fields=["content", "file_path"],
                search_params={"metric_type": "COSINE", "params": {"ef": 64}},
                timeout=10,
            )
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(ask(number * 97) for number in range(int(TASKS))))
    seconds = time.perf_counter() - begin
    p50, p99 = np.percentile(took, [50, 99]) * 1000
    print(f"{len(took) / seconds:.1f} {p50:.3f} {p99:.3f}")
    await client.close()


asyncio.run(main())
