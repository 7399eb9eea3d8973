"""The new embedding model while the release still uses the old one. Starts a process; does network I/O.

The release's embedder serves one model. So where the new one is served by an embedder too, a second one runs as a child
of this process, on a free port of the loopback address, for as long as it is needed; the release itself is not changed.
"""

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from lightragctl.core.component import Plan
from lightragctl.core.errors import LightragctlError, RefusedError, WaitExpired
from lightragctl.core.settings import EmbedderSettings, EmbeddingModel, GatewaySettings, SecretKey, SecretRef
from lightragctl.reembed.texts import Embed
from lightragctl.service.gateway import secret_value
from lightragctl.vectors.embedding import PassageEmbedder, QuestionEmbedder

_CHILD = "import ctypes, runpy; ctypes.CDLL(None).prctl(1, 15); runpy.run_module('lightragctl', run_name='__main__')"
"""Runs lightragctl, and has the kernel end it when this process dies (PR_SET_PDEATHSIG, SIGTERM). It requests that
itself: a function between fork and exec would run beside gRPC's handlers, after which the child at times dies of
`epoll_wait error: Bad file descriptor`."""
_START_S = 120.0
_STOP_S = 10.0
_POLL_S = 0.1
_SILENCE_S = 180.0
"""A batch of the longest texts takes an embedder on two cores a minute."""


@dataclass(frozen=True)
class Model:
    """An embedding model that answers: vectors of stored texts, and of questions."""

    passages: Embed
    questions: Embed


@dataclass(frozen=True)
class Secrets:
    """Where the API key of an endpoint is: the environment, or a Kubernetes Secret beside the release."""

    environ: Mapping[str, str]
    of_cluster: Callable[[SecretKey], str | None]

    def value(self, reference: SecretRef) -> str:
        """The key.

        Raises:
            UsageError: it is missing.
        """
        found = self.of_cluster(reference.secret) if reference.secret else None
        return found if found is not None else secret_value(reference, self.environ, "models.embedding.api_key")


def model_of(plan: Plan) -> EmbeddingModel:
    """The embedding model of a plan."""
    given = plan.profile.models.embedding.model_dump(include=set(EmbeddingModel.model_fields))
    return EmbeddingModel.model_validate(given)


@contextlib.contextmanager
def open_model(plan: Plan, secrets: Secrets) -> Iterator[Model]:
    """The embedding model of a plan, whether the release runs it or not.

    Raises:
        RefusedError: a model server of the release serves it, which does not run yet.
        LightragctlError: the embedder does not start.
    """
    model, endpoint = model_of(plan), plan.profile.models.embedding
    if "embedder" in plan.components:
        with _embedder(plan, secrets.environ) as url:
            yield _model(url, model, None)
        return
    gateway = plan.components["model-gateway"].settings
    settings = gateway(plan) if gateway else None
    if not isinstance(settings, GatewaySettings):
        raise RefusedError("the profile runs no model-gateway, which knows where the model is served")
    key = secrets.value(endpoint.api_key) if endpoint.api_key else None
    yield _model(settings.embedding.url, model, key)


def _model(url: str, model: EmbeddingModel, key: str | None) -> Model:
    return Model(
        PassageEmbedder(url, model, _SILENCE_S, api_key=key), QuestionEmbedder(url, model, _SILENCE_S, api_key=key)
    )


@contextlib.contextmanager
def _embedder(plan: Plan, environ: Mapping[str, str]) -> Iterator[str]:
    """The address of an embedder of this process."""
    made = plan.components["embedder"].settings
    settings = made(plan) if made else None
    assert isinstance(settings, EmbedderSettings)
    port = _free_port()
    changed = settings.model_copy(update={"host": "127.0.0.1", "port": port, "drain_s": 0.0})
    with tempfile.TemporaryDirectory(prefix="lightragctl-") as folder:
        file, log = Path(folder, "embedder.json"), Path(folder, "embedder.log")
        file.write_text(changed.model_dump_json(), encoding="utf-8")
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", _CHILD, "serve", "embedder", "--settings", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environ),
            )
        try:
            _wait_ready(child, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _wait_ready(child: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{url}/readyz").is_success:
                    return
            if child.poll() is not None:
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
                raise LightragctlError(f"the embedder of the new model exited: {' '.join(lines)}")
            if time.monotonic() > end:
                raise WaitExpired(f"the embedder of the new model is not ready after {_START_S:g} s")
            time.sleep(_POLL_S)


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])
