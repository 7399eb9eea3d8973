"""model-server: vLLM, TEI or Ollama on the cluster's own nodes, behind OpenAI's API."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lightragctl.core.bounds import ImageRepository, ImageTag, Name
from lightragctl.core.component import Component, Part, Plan, Probes, Values, Workload
from lightragctl.core.errors import ProfileError
from lightragctl.core.settings import Port, SecretKey, Size, StrictModel

_START_S, _MIN_START_S, _GRACE_S = 1800, 600, 60
"""Start timeout: default and minimum; grace period of a stop.

A server downloads weights of some ten gigabytes and loads them into the GPU before it is ready, for minutes.
"""
_PORTS = {"vllm": 8000, "tei": 8080, "ollama": 11434}
_HUB = "https://*"
"""Egress for downloads of weights."""


class ServerImage(StrictModel):
    """The server's image; it depends on the GPU and its driver."""

    repository: ImageRepository
    tag: ImageTag


class ModelServer(Workload):
    """One model behind one server.

    `model`: the server's name for it, such as `qwen2.5:7b` for Ollama. Weights are downloaded once to a volume of size
    `storage`; with `download: false` they exist already, and egress stays closed. `token`: a Secret with the access
    token of gated models. `arguments` are appended to the server's. Without a GPU: `gpus: 0`.
    """

    kind: Literal["vllm", "tei", "ollama"]
    image: ServerImage
    model: str
    gpus: Annotated[int, Field(ge=0, le=16)] = 1
    storage: Size = "50Gi"
    storage_class: Name | None = None
    shared_volume: bool = False
    download: bool = True
    token: SecretKey | None = None
    arguments: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """The port that the server listens on."""
        return _PORTS[self.kind]

    @model_validator(mode="after")
    def _one_volume(self) -> "ModelServer":
        if (self.least > 1 or self.autoscale) and not self.shared_volume:
            raise ValueError(
                "several pods read the weights from one volume: keep replicas: 1, or set shared_volume: true if the "
                "storage class supports ReadWriteMany"
            )
        return self


class ModelServerValues(Values):
    """Servers by name; `models.chat.server` and `models.embedding.server` refer to them."""

    port: Port = 8000
    servers: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,14}[a-z0-9])?$")], ModelServer], Field(min_length=1)
    ]


def servers(plan: Plan) -> dict[str, ModelServer]:
    """The servers of the plan by name."""
    return plan.values_of("model-server", ModelServerValues).servers


def server_url(plan: Plan, name: str) -> str:
    """The address of a server as the other components see it.

    Raises:
        ProfileError: the server does not exist.
    """
    known = servers(plan)
    if name not in known:
        message = f"models refer to server '{name}', but model-server has {', '.join(known)}"
        raise ProfileError(message, f"add components.model-server.servers.{name}, or use one of these")
    return f"http://{plan.release}-model-server-{name}:{known[name].port}"


def _parts(plan: Plan) -> Sequence[Part]:
    return [
        Part(
            "model-server",
            name,
            server,
            start_timeout_s=server.start_timeout_s or _START_S,
            stop_grace_s=_GRACE_S if server.stop_grace_s is None else server.stop_grace_s,
            section=f"servers.{name}",
        )
        for name, server in servers(plan).items()
    ]


def _ports(plan: Plan) -> Sequence[int]:
    return sorted({server.port for server in servers(plan).values()})


COMPONENT = Component(
    name="model-server",
    summary="models on the cluster's own nodes, OpenAI's API",
    requires=(),
    values=ModelServerValues,
    probes=Probes(ready="/health", live=None, start_timeout_s=_START_S, min_start_s=_MIN_START_S),
    settings=None,
    process=None,
    parts=_parts,
    outside=lambda plan: (_HUB,) if any(server.download for server in servers(plan).values()) else (),
    ports=_ports,
)
