"""An embedding endpoint that costs next to nothing: vectors made beforehand, chosen by a hash of the text.

python -m tests.bench.peers.model PORT DIMENSION [SECONDS that each call takes]
"""

import asyncio
import base64
import sys
import zlib
from typing import Any

import orjson
import uvicorn

from tests.bench.peers.vectors import questions

PORT, DIMENSION = (int(word) for word in sys.argv[1:3])
TAKES_S = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
VECTORS = questions(4096, 50_000, DIMENSION)
BASE64 = [base64.b64encode(vector.tobytes()).decode() for vector in VECTORS]
FLOATS = [vector.tolist() for vector in VECTORS]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    asked = orjson.loads(body)
    if TAKES_S:
        await asyncio.sleep(TAKES_S)
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    chosen = BASE64 if asked.get("encoding_format") == "base64" else FLOATS
    data = [{"index": i, "embedding": chosen[zlib.crc32(text.encode()) % 4096]} for i, text in enumerate(texts)]
    answer = orjson.dumps({"object": "list", "data": data, "model": asked["model"]})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(app, port=PORT, access_log=False, log_level="warning", lifespan="off")
