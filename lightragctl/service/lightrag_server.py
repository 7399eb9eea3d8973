"""lightrag-server: starts upstream's `lightrag-gunicorn`, once it is safe to, and says whether it answers queries.

Upstream allows one instance for each workspace and says 200 on /health whatever happens behind it. So this process
holds a lock on the storage folder, which upstream's processes inherit and keep until the last of them is gone; it looks
at the collections before the start; and its own /readyz asks upstream a question every few seconds.
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
from lightragctl.service.models import EmbeddingClient, open_session
from lightragctl.service.upstream import Health, check_collections, environment, passed_on, verdict
from lightragctl.service.workspaces import Workspaces
from lightragctl.vectors.control import KINDS, collection_name
from lightragctl.vectors.store import VectorStore

log = logging.getLogger(__name__)

TIKTOKEN = "TIKTOKEN_CACHE_DIR"
"""Where tiktoken keeps its vocabularies; an image has them there already."""

MODULE = "lightrag.api.run_with_gunicorn"
"""What the command `lightrag-gunicorn` runs; upstream's other command, lightrag-server, knows no workers."""

LOCK_S = 90.0
"""How long to wait for the processes of the start before this one; they have UPSTREAM_STOP_S to end."""

_ASK_EVERY_S, _ASK_AGAIN_S = 10.0, 2.0
"""Between two questions, while it is ready and while it is not; upstream logs each in six lines."""

_ANSWER_S = 30.0
_CHECK_S = 60.0
_RETRY_S = 1.0
_STORE_S = 30.0
_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl
"""Looked up here: after a fork, a lock of the loader may be held for ever by a thread that is not there."""

_QUESTION = {"query": "lightragctl asks whether the vector store answers", "mode": "naive", "chunk_top_k": 1}


class Launcher:
    """One start of upstream's server; `health` says whether it answers, `failure` how it ended by itself."""

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
        self.health = Health(time.monotonic)
        self.failure: LightragctlError | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None, None]:
        """Upstream runs while this is entered."""
        storage = self._here / self._settings.storage
        for folder in (storage, self._here / self._settings.inputs, self._here / self._settings.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        async with only_writer(storage, LOCK_S) as held:
            await self._check()
            child = self._start(held)
            watching = [asyncio.create_task(self._watch(child)), asyncio.create_task(self._ask())]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.to_thread(_end, child)

    async def _check(self) -> None:
        """Whether it is safe to start; what does not answer is asked again for a minute."""
        until_s = time.monotonic() + _CHECK_S
        while True:
            try:
                return await check_workspace(self._settings)
            except UnavailableError as error:
                if time.monotonic() >= until_s:
                    raise
                log.warning("not started yet: %s", error.message)
            await asyncio.sleep(_RETRY_S)

    def _start(self, lock: int) -> "subprocess.Popen[bytes]":
        if find_spec("lightrag") is None:
            hint = "pip install 'lightragctl[lightrag]'"
            raise LightragctlError("upstream LightRAG is not installed: there is no package lightrag-hku", hint)
        scratch = self._here / self._settings.scratch
        vocabulary = self._environ.get(TIKTOKEN) or str(
            bring_vocabulary(scratch / "tiktoken", places_of("llama_index"))
        )
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", MODULE],
            env={**passed_on(self._environ), **self._added, **self._direct(), TIKTOKEN: vocabulary},
            cwd=scratch,  # it writes where it runs
            stdin=subprocess.DEVNULL,
            pass_fds=(lock,),
            preexec_fn=_end_with_parent,
        )
        log.info("upstream's server is process %d, port %d", child.pid, self._settings.lightrag_port)
        return child

    def _direct(self) -> dict[str, str]:
        """Upstream's gRPC would ask the release's own Milvus through the proxy that is passed on to it."""
        own = [self._settings.vector_engine_uri, self._settings.gateway_url]
        return direct_variables(own, {**self._environ, **self._added})

    async def _watch(self, child: "subprocess.Popen[bytes]") -> None:
        """End this process when upstream ends by itself."""
        status = await asyncio.to_thread(child.wait)
        self.failure = LightragctlError(f"upstream's server ended with status {status}", "its last lines say why")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _ask(self) -> None:
        """Ask a question now and then, without end."""
        host = "127.0.0.1" if self._settings.host == "0.0.0.0" else self._settings.host
        url = f"http://{host}:{self._settings.lightrag_port}/query/data"
        background = Background()
        async with open_session({"X-API-Key": self._key} if self._key else None) as session:
            while True:
                before = self.health.reason
                if trouble := await background.attempt("asking upstream", partial(ask, session, url, self.health)):
                    self.health.note(trouble)
                if self.health.reason != before:
                    log.info("ready" if not self.health.reason else f"not ready: {self.health.reason}")
                await asyncio.sleep(_ASK_AGAIN_S if self.health.uncertain else _ASK_EVERY_S)


async def ask(session: aiohttp.ClientSession, url: str, health: Health) -> None:
    """Ask upstream one question and note how it went."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
    try:
        async with session.post(url, json=_QUESTION, timeout=timeout) as answer:
            document = await answer.json(content_type=None) if "json" in answer.content_type else None
            health.note(verdict(answer.status, document))
    except TimeoutError:
        health.note_slow(_ANSWER_S)
    except (aiohttp.ClientError, ValueError) as error:
        health.note(f"upstream's server does not answer: {error}")


async def check_workspace(settings: LightragServerSettings) -> None:
    """Look at the collections, and compare or note the model that they are made with.

    Raises:
        UnsafeStartError: upstream would start, and mix or lose data.
        ModelMismatchError: the documents were embedded otherwise than is configured now.
        UnavailableError: Milvus or the model does not answer.
    """
    from lightragctl.vectors.milvus import MilvusStore  # noqa: PLC0415 - pymilvus takes a quarter second to import

    store = await asyncio.to_thread(MilvusStore, settings.vector_engine_uri, _STORE_S)
    try:
        await asyncio.to_thread(_check_names, store, settings)
        told = ApiSettings(
            port=settings.port,
            workspace=settings.workspace,
            vector_engine_uri=settings.vector_engine_uri,
            gateway_url=settings.gateway_url,
            embedding=settings.embedding,
        )
        async with open_session() as session:
            embedding = EmbeddingClient(session, settings.gateway_url, settings.embedding, _STORE_S)
            workspaces = Workspaces(told, store, embedding)
            try:
                await workspaces.adopt(settings.workspace)
            finally:
                await workspaces.guard.leave()
                workspaces.close()
    finally:
        await asyncio.to_thread(store.close)


def _check_names(store: VectorStore, settings: LightragServerSettings) -> None:
    names = store.list_collections()
    wanted = [collection_name(settings.workspace, kind, settings.embedding) for kind in KINDS]
    found = {name: store.resolve(name) for name in wanted}
    aliases = {name: physical for name, physical in found.items() if physical and physical != name}
    check_collections(settings.workspace, settings.embedding, names, aliases)


@asynccontextmanager
async def only_writer(storage: Path, wait_s: float) -> AsyncGenerator[int, None]:
    """Hold the storage folder; the descriptor that holds it may be given to child processes, which hold it then too.

    Raises:
        LockedError: somebody else holds it still after `wait_s`.
    """
    descriptor = os.open(storage / "writer.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until_s = time.monotonic() + wait_s
        while not _locked(descriptor):
            if time.monotonic() >= until_s:
                message = f"another lightrag-server holds {storage}: one writer for each workspace"
                raise LockedError(message, "stop the other one, and see that its processes are gone")
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


def places_of(package: str) -> list[str]:
    """The folders of an installed package, without importing it."""
    spec = find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def bring_vocabulary(folder: Path, places: Iterable[str]) -> Path:
    """The folder of tiktoken's vocabularies; those that an installed llama_index (`places`) brings are copied there.

    Without them tiktoken fetches them from the internet, once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in places:
        for file in (Path(place) / "core" / "_static" / "tiktoken_cache").glob("[0-9a-f]*"):
            if not (folder / file.name).exists():
                shutil.copy(file, folder)
    return folder


def _end_with_parent() -> None:
    """In the child: end when this process is killed, so that the next start does not wait for it in vain."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.terminate()
    try:
        child.wait(UPSTREAM_STOP_S)
    except subprocess.TimeoutExpired:
        log.warning("upstream's server does not end within %g s, and is killed", UPSTREAM_STOP_S)
        child.kill()
        child.wait()


def create_app(launcher: Launcher, title: str = "lightrag-server") -> http.App:
    """/healthz, /readyz and /metrics of upstream's server: there are no other routes."""
    return http.App((), http.AppOptions(title, 1024, ready=lambda: launcher.health.reason, lifespan=launcher.lifespan))


def serve(settings: LightragServerSettings, environ: Mapping[str, str]) -> None:
    """Run upstream until SIGTERM.

    Raises:
        LightragctlError: it may not start, or it ended by itself.
    """
    launcher = Launcher(settings, environ, Path.cwd())
    server.run(create_app(launcher), settings)
    if launcher.failure is not None:
        raise launcher.failure
