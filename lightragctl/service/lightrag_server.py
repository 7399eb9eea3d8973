"""lightrag-server: a wrapper that starts upstream's `lightrag-gunicorn` safely and probes its readiness.

Upstream allows one instance per workspace, and its /health returns 200 even if queries fail. So this process holds a
lock on the storage folder, which upstream's processes inherit; it checks the collections before the start; and its own
/readyz depends on a test query every few seconds.
"""

import asyncio
import ctypes
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import aiohttp

from lightragctl.core.errors import LightragctlError, LockedError, UnavailableError
from lightragctl.core.proxies import direct_variables
from lightragctl.core.settings import UPSTREAM_STOP_S, ApiSettings, LightragServerSettings
from lightragctl.service import http, server
from lightragctl.service.background import Background
from lightragctl.service.gateway import read_secret, secret_value
from lightragctl.service.lightrag_environment import (
    UpstreamHealth,
    check_collections,
    environment,
    inherited,
    query_error,
    tuned_environment,
)
from lightragctl.service.model_clients import EmbeddingClient, open_session
from lightragctl.service.workspaces import Workspaces
from lightragctl.vectors.applied import read_applied
from lightragctl.vectors.control import KINDS, collection_name
from lightragctl.vectors.fence import switching
from lightragctl.vectors.store import VectorStore

log = logging.getLogger(__name__)

TIKTOKEN = "TIKTOKEN_CACHE_DIR"
"""The folder of tiktoken's vocabularies; preset in our image."""

MODULE = "lightrag.api.run_with_gunicorn"
"""The module of the command `lightrag-gunicorn`; upstream's command lightrag-server has no workers."""

LOCK_S = 90.0
"""How long to wait for the processes of the previous start; they have UPSTREAM_STOP_S to stop."""

_PROBE_READY_S, _PROBE_UNREADY_S = 10.0, 2.0
"""Intervals of test queries while ready and while not; upstream logs six lines for each."""

_ANSWER_S = 30.0
_CHECK_S = 60.0
_RETRY_S = 1.0
_STORE_S = 30.0
_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl
"""Looked up at import: after a fork, a loader lock may be held for ever by a thread that no longer exists."""

_TEST_QUERY = {"query": "readiness probe of lightragctl", "mode": "naive", "chunk_top_k": 1}


class Launcher:
    """One run of upstream's server; `health` is its readiness, `failure` why it exited by itself."""

    def __init__(self, settings: LightragServerSettings, environ: Mapping[str, str], here: Path) -> None:
        self._settings = settings
        self._environ = environ
        self._here = here
        self._key = read_secret(settings.api_key, environ, "api_key") if settings.api_key else ""
        added = {
            name: value if isinstance(value, str) else secret_value(value, environ, f"environment.{name}")
            for name, value in settings.environment.items()
        }
        self._added = environment(settings, here, self._key, added)
        self._tuned: dict[str, str] = {}
        self.health = UpstreamHealth(time.monotonic)
        self.failure: LightragctlError | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Run upstream inside the context."""
        storage = self._here / self._settings.storage
        for folder in (storage, self._here / self._settings.inputs, self._here / self._settings.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        async with storage_lock(storage, LOCK_S) as held:
            await self._check()
            child = self._start(held)
            watching = [asyncio.create_task(self._watch(child)), asyncio.create_task(self._probe())]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.to_thread(_end, child)

    async def _check(self) -> None:
        """Check that it is safe to start; unavailable backends are retried for a minute."""
        until_s = time.monotonic() + _CHECK_S
        while True:
            try:
                self._tuned = await check_workspace(self._settings)
                return
            except UnavailableError as error:
                if time.monotonic() >= until_s:
                    raise
                log.warning("start delayed: %s", error.message)
            await asyncio.sleep(_RETRY_S)

    def _start(self, lock: int) -> "subprocess.Popen[bytes]":
        if find_spec("lightrag") is None:
            hint = "pip install 'lightragctl[lightrag]'"
            raise LightragctlError("upstream LightRAG is not installed: package lightrag-hku is missing", hint)
        scratch = self._here / self._settings.scratch
        vocabulary = self._environ.get(TIKTOKEN) or str(
            copy_vocabulary(scratch / "tiktoken", package_folders("llama_index"))
        )
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            env={**inherited(self._environ), **self._added, **self._tuned, **self._direct(), TIKTOKEN: vocabulary},
            cwd=scratch,  # it writes where it runs
            stdin=subprocess.DEVNULL,
            pass_fds=(lock,),
            preexec_fn=_end_with_parent,
        )
        log.info("started upstream as process %d on port %d", child.pid, self._settings.lightrag_port)
        return child

    def _direct(self) -> dict[str, str]:
        """Variables that exempt the release's own addresses from the inherited proxy, also for gRPC."""
        own = [self._settings.vector_engine_uri, self._settings.gateway_url]
        return direct_variables(own, {**self._environ, **self._added})

    async def _watch(self, child: "subprocess.Popen[bytes]") -> None:
        """Stop this process when upstream exits by itself."""
        status = await asyncio.to_thread(child.wait)
        self.failure = LightragctlError(f"upstream exited with status {status}", "see the last lines of its log")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _probe(self) -> None:
        """Send a test query at intervals, until cancelled."""
        host = "127.0.0.1" if self._settings.host == "0.0.0.0" else self._settings.host
        url = f"http://{host}:{self._settings.lightrag_port}/query/data"
        background = Background()
        async with open_session({"X-API-Key": self._key} if self._key else None) as session:
            while True:
                before = self.health.reason
                if trouble := await background.attempt("probing upstream", partial(probe, session, url, self.health)):
                    self.health.note(trouble)
                if self.health.reason != before:
                    log.info("ready" if not self.health.reason else f"not ready: {self.health.reason}")
                await asyncio.sleep(_PROBE_UNREADY_S if self.health.uncertain else _PROBE_READY_S)


async def probe(session: aiohttp.ClientSession, url: str, health: UpstreamHealth) -> None:
    """Send one test query to upstream and record the result in `health`."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    try:
        async with session.post(url, json=_TEST_QUERY, timeout=timeout) as answer:
            document = await answer.json(content_type=None) if "json" in answer.content_type else None
            health.note(query_error(answer.status, document))
    except TimeoutError:
        health.note_slow(_ANSWER_S)
    except (aiohttp.ClientError, ValueError) as error:
        health.note(f"upstream does not respond: {error}")


async def check_workspace(settings: LightragServerSettings) -> dict[str, str]:
    """Check the collections, and compare or record the identity of their embedding model.

    Returns:
        variables of an index that was tuned, which take precedence over the profile's.

    Raises:
        UnsafeStartError: upstream would mix or lose data.
        ModelMismatchError: the documents were embedded with another model than the configured one.
        UnavailableError: Milvus or the model does not respond, or an operation is replacing a collection.
    """
    from lightragctl.vectors.milvus import MilvusStore  # noqa: PLC0415 - pymilvus takes a quarter second to import

    store = await asyncio.to_thread(MilvusStore, settings.vector_engine_uri, _STORE_S)
    try:
        tuned = await asyncio.to_thread(_check_names, store, settings)
        api = ApiSettings(
            port=settings.port,
            workspace=settings.workspace,
            vector_engine_uri=settings.vector_engine_uri,
            gateway_url=settings.gateway_url,
            embedding=settings.embedding,
        )
        async with open_session() as session:
            embedding = EmbeddingClient(session, settings.gateway_url, settings.embedding, _STORE_S)
            workspaces = Workspaces(api, store, embedding)
            try:
                await workspaces.adopt(settings.workspace)
            finally:
                await workspaces.guard.leave()
                workspaces.close()
        return tuned
    finally:
        await asyncio.to_thread(store.close)


def _check_names(store: VectorStore, settings: LightragServerSettings) -> dict[str, str]:
    """Check the names of collections; the variables of a tuned index.

    Between the two renames of a switch, upstream would take the workspace for empty and create its collections.
    """
    if operation := switching(store, settings.workspace):
        raise UnavailableError(f"operation {operation} is replacing a collection of workspace '{settings.workspace}'")
    names = store.list_collections()
    wanted = [collection_name(settings.workspace, kind, settings.embedding) for kind in KINDS]
    found = {name: store.resolve(name) for name in wanted}
    aliases = {name: physical for name, physical in found.items() if physical and physical != name}
    check_collections(settings.workspace, settings.embedding, names, aliases)
    applied = read_applied(store, settings.workspace)
    return next((tuned_environment(applied[name]) for name in wanted if name in applied), {})


@asynccontextmanager
async def storage_lock(storage: Path, wait_s: float) -> AsyncGenerator[int, None]:
    """Lock the storage folder; child processes that inherit the descriptor hold the lock as well.

    Raises:
        LockedError: another process still holds it after `wait_s`.
    """
    descriptor = os.open(storage / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until_s = time.monotonic() + wait_s
        while not _locked(descriptor):
            if time.monotonic() >= until_s:
                message = f"another lightrag-server holds the lock of {storage}: a workspace has one writer"
                raise LockedError(message, "stop the other instance and all its processes")
            await asyncio.sleep(_RETRY_S / 4)
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def package_folders(package: str) -> list[str]:
    """The folders of an installed package, without importing it."""
    spec = find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def copy_vocabulary(folder: Path, places: Iterable[str]) -> Path:
    """The folder of tiktoken's vocabularies, with copies of those in an installed llama_index (folders `places`).

    Without them tiktoken downloads them once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in places:
        for file in (Path(place) / "core" / "_static" / "tiktoken_cache").glob("[0-9a-f]*"):
            if not (folder / file.name).exists():
                shutil.copy(file, folder)
    return folder


def _end_with_parent() -> None:
    """In the child: stop when this process is killed, so that the next start does not wait for it."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(UPSTREAM_STOP_S)
    except subprocess.TimeoutExpired:
        log.warning("upstream did not stop within %g s, killing it", UPSTREAM_STOP_S)
        child.kill()
        child.wait()


def create_app(launcher: Launcher, title: str = "lightrag-server") -> http.App:
    """The app with /healthz, /readyz and /metrics for upstream's server; it has no other routes."""
    return http.App((), http.AppOptions(title, 1024, ready=lambda: launcher.health.reason, lifespan=launcher.lifespan))


def serve(settings: LightragServerSettings, environ: Mapping[str, str]) -> None:
    """Run upstream until SIGTERM.

    Raises:
        LightragctlError: starting is unsafe, or upstream exited by itself.
    """
    launcher = Launcher(settings, environ, Path.cwd())
    server.run(create_app(launcher), settings)
    if launcher.failure is not None:
        raise launcher.failure
