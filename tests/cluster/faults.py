"""Images of lightrag-api with one injected fault each: our own with another launcher, for the stories of upgrades."""

_HEAD = """#!/{venv}/bin/python
import asyncio, os, random, sys, threading, time
import numpy as np
from lightragctl.service import http, responses, retrieval
IS_API = "api" in sys.argv
def of_route(path, changed):
    whole = http.App.answer
    def answer(self, request):
        return changed(whole, self, request) if IS_API and request.path == path else whole(self, request)
    http.App.answer = answer
"""
_TAIL = """
from lightragctl.__main__ import main
sys.exit(main())
"""
FAULTS = {
    "errors": """
def failing(whole, self, request):
    if random.random() < 0.05:
        return self.problem_response(request, responses.Problem(500, "Internal Server Error", "an injected fault"))
    return whole(self, request)
of_route("/retrieve", failing)
""",
    "slow": """
def late(whole, self, request):
    async def later():
        await asyncio.sleep(0.2)
        found = whole(self, request)
        return found if isinstance(found, http.Response) else await found
    return later()
of_route("/retrieve", late)
""",
    "leak": """
held = []
def leak():
    while True:
        held.append(b"x" * 1_500_000)
        time.sleep(1)
if IS_API:
    threading.Thread(target=leak, daemon=True).start()
""",
    "wrong": """
vector = retrieval.Retrieval._vector
async def other(self, text, until_s):
    found, queued_s = await vector(self, text, until_s)
    return np.roll(found, 1), queued_s
retrieval.Retrieval._vector = other
""",
    "crash": """
if IS_API:
    threading.Timer(120, lambda: os._exit(1)).start()
""",
    "never-ready": """
of_route("/readyz", lambda whole, self, request: self.problem_response(
    request, responses.Problem(503, "Not Ready", "an injected fault")))
""",
    "stale-cache": """
cached = retrieval.Retrieval.cached
def shortened(self, question):
    return cached(self, question._replace(text=question.text[:12]))
store = retrieval.ByteCache.put
def put(self, key, value, size_bytes):
    if isinstance(key, tuple) and hasattr(key[0], "text"):
        key = (key[0]._replace(text=key[0].text[:12]), *key[1:])
    store(self, key, value, size_bytes)
retrieval.Retrieval.cached = shortened
retrieval.ByteCache.put = put
""",
}
"""By name: 5 % errors, 200 ms more, 1.5 MB of memory a second, vectors that are rotated, a crash after two minutes,
never ready, and a cache whose key has only the beginning of a question."""


def launcher(fault: str, venv: str) -> str:
    """The program that starts our services with the fault."""
    return _HEAD.format(venv=venv) + FAULTS[fault] + _TAIL


def name_of(fault: str) -> str:
    """The name of its image."""
    return f"lightragctl:{fault}"
