"""uvicorn with a constant answer of 2.5 KB and no framework: how fast this machine is at the moment.

python -m tests.bench.peers.constant PORT
"""

import sys
from typing import Any

import orjson
import uvicorn

ANSWER = b"x" * 2500
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"2500")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    if body := (await receive())["body"]:
        orjson.loads(body)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off")
