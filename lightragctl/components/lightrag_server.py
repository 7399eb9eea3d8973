"""lightrag-server: upstream LightRAG, hardened: ingestion, the knowledge graph, and queries on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from lightragctl.core.bounds import Name, Variable
from lightragctl.core.component import Autoscale, Component, Part, Plan, Probes, ProcessSpec, Resources, WorkloadValues
from lightragctl.core.findings import Violation
from lightragctl.core.profile import Image, Runtime
from lightragctl.core.settings import (
    OPEN_REQUESTS_S,
    UPSTREAM_STOP_S,
    EmbeddingModel,
    LightragServerSettings,
    LightragTuning,
    Port,
    ResourceAmounts,
    SecretKey,
    SecretRef,
    Size,
)
from lightragctl.core.stores import OTHER_WORKSPACE, PASSWORD, VECTORS, in_postgres
from lightragctl.core.versions import Hop, HopKind, minor

NAME = "lightrag-server"
KEY = "LIGHTRAG_API_KEY"
"""The environment variable with the API key, as upstream names it."""

FOLDER = "/var/lib/lightrag"
"""Mount path of the volume. It must not hide the tokenizer's vocabulary in the image, which a pod without egress cannot
download."""

START_TIMEOUT_S = 3600
"""A new upstream version migrates its data before it listens: minutes usually, hours were reported (issue 2255)."""


class LightragServerValues(WorkloadValues, LightragTuning):
    """Configuration of upstream and its single pod. `ready_port`: the readiness endpoint of our launcher.

    `environment` sets further variables of upstream; passwords and keys in it are references to secrets.
    """

    port: Port = 9621
    ready_port: Port = 9622
    image: Image = Image(repository="lightragctl-lightrag", tag="latest")
    storage: Size = "10Gi"
    storage_class: Name | None = None
    stop_grace_s: Annotated[int, Field(ge=30)] | None = None
    api_key: Literal["generated"] = "generated"
    environment: Mapping[Variable, str | SecretRef] = {}
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="250m", memory="768Mi"), limits=ResourceAmounts(cpu="2", memory="2Gi")
    )

    @field_validator("replicas")
    @classmethod
    def _one_writer(cls, replicas: int | None) -> int | None:
        if replicas not in (None, 1):
            raise ValueError(
                f"{replicas} replicas: upstream LightRAG allows one active instance for each workspace, "
                "two would overwrite each other's files; keep replicas: 1 and scale lightrag-api, which reads its data"
            )
        return replicas

    @field_validator("autoscale")
    @classmethod
    def _no_more_writers(cls, autoscale: Autoscale | None) -> Autoscale | None:
        if autoscale is not None:
            raise ValueError("upstream LightRAG is the only writer and does not scale; omit it, and scale lightrag-api")
        return autoscale


def generated_key(release: str) -> SecretKey:
    """The Secret with the server's API key, generated once by `up`."""
    return SecretKey(name=f"{release}-{NAME}-keys", key="api-keys")


def _values(plan: Plan) -> LightragServerValues:
    return plan.values_of(NAME, LightragServerValues)


def _ready_port(plan: Plan) -> int:
    return _values(plan).ready_port + plan.port_offset


def _settings(plan: Plan) -> LightragServerSettings:
    values, profile = _values(plan), plan.profile
    on_cluster = profile.runtime is Runtime.KUBERNETES
    folder = FOLDER if on_cluster else f"data/{NAME}"
    return LightragServerSettings(
        host=plan.listen_host(),
        port=_ready_port(plan),
        drain_s=plan.drain_s(NAME),
        lightrag_port=plan.port(NAME),
        storage=f"{folder}/rag_storage",
        inputs=f"{folder}/inputs",
        scratch=f"/tmp/{NAME}" if on_cluster else f"{folder}/scratch",
        api_key=SecretRef(env=KEY) if on_cluster else None,
        workspace=profile.workspace,
        vector_engine_uri=plan.url("vector-engine"),
        gateway_url=plan.url("model-gateway"),
        embedding=EmbeddingModel.model_validate(
            profile.models.embedding.model_dump(include=set(EmbeddingModel.model_fields))
        ),
        chat_model=profile.models.chat.name,
        index=profile.index,
        tuning=LightragTuning.model_validate(values.model_dump(include=set(LightragTuning.model_fields))),
        environment={
            name: plan.secret(name, value) or "" if isinstance(value, SecretRef) else value
            for name, value in values.environment.items()
        },
    )


def _process(plan: Plan, data: Path) -> ProcessSpec:
    grace_s = plan.stop_grace_s(NAME, _values(plan))
    return ProcessSpec("lightragctl", ("serve", NAME), _settings(plan), stop_grace_s=grace_s)


def _parts(plan: Plan) -> Sequence[Part]:
    values = _values(plan)
    start_s = values.start_timeout_s or START_TIMEOUT_S
    grace_s = plan.stop_grace_s(NAME, values)
    return [Part(NAME, "", values, "StatefulSet", start_timeout_s=start_s, stop_grace_s=grace_s)]


def _unsupported(plan: Plan) -> Violation | None:
    if (found := _unusable(_values(plan).environment)) is not None:
        variable, reason, hint = found
        return Violation(f"components.{NAME}.environment.{variable}", reason, hint)
    if _values(plan).autoscale:
        return Violation(
            f"components.{NAME}.autoscale",
            "upstream LightRAG is the only writer of its workspace",
            "omit autoscale, and scale lightrag-api",
        )
    if plan.profile.runtime is Runtime.KUBERNETES and plan.profile.index.type == "FLAT":
        message = "upstream LightRAG does not support index type FLAT"
        return Violation("index.type", message, "use --set index.type=HNSW, or AUTOINDEX")
    return None


def _unusable(environment: Mapping[str, str | SecretRef]) -> tuple[str, str, str] | None:
    """A variable of upstream's stores that cannot be as it is, with reason and hint."""
    if VECTORS in environment:
        message = f"environment.{VECTORS} cannot be set: vectors are in Milvus, where lightrag-api reads them"
        return VECTORS, message, "remove it"
    if not in_postgres(environment):
        return None
    if OTHER_WORKSPACE in environment:
        message = f"environment.{OTHER_WORKSPACE} cannot be set: every store has the workspace of the profile"
        return OTHER_WORKSPACE, message, "remove it, and set workspace"
    if not isinstance(environment.get(PASSWORD), SecretRef):
        message = f"environment.{PASSWORD} must refer to a secret: stores in PostgreSQL need it"
        return PASSWORD, message, "{secret: {name: NAME, key: KEY}}, or on this machine {env: NAME} or {file: PATH}"
    port = environment.get("POSTGRES_PORT", "5432")
    if isinstance(port, str) and not port.isdigit():
        return "POSTGRES_PORT", f"environment.POSTGRES_PORT is not a port: {port}", "use a number, such as '5432'"
    return None


def _outside(plan: Plan) -> Sequence[str]:
    """The database of stores in PostgreSQL."""
    environment = _values(plan).environment
    host, port = environment.get("POSTGRES_HOST", ""), environment.get("POSTGRES_PORT", "5432")
    if not in_postgres(environment) or not host:
        return ()
    return [f"{host if isinstance(host, str) else '*'}:{port if isinstance(port, str) else 5432}"]


def _secrets(plan: Plan) -> dict[str, SecretKey]:
    environment = _values(plan).environment.items()
    ours = {name: value.secret for name, value in environment if isinstance(value, SecretRef) and value.secret}
    return {KEY: generated_key(plan.release), **ours}


_UPGRADES = (
    Hop(
        minor(1, 4),
        minor(1, 5),
        HopKind.ONE_WAY,
        "https://github.com/HKUDS/LightRAG/issues/2255",
        "it migrates its stores when it starts; 12 hours were seen with a large workspace, and it answers nothing then",
    ),
)

COMPONENT = Component(
    name=NAME,
    summary="upstream LightRAG: ingestion, the knowledge graph, queries; a single writer",
    requires=("vector-engine", "model-gateway"),
    values=LightragServerValues,
    probes=Probes(ready="/readyz", live="/health", start_timeout_s=START_TIMEOUT_S, ready_port=_ready_port),
    settings=_settings,
    process=_process,
    unsupported=_unsupported,
    secrets=_secrets,
    outside=_outside,
    generated_key=generated_key,
    parts=_parts,
    metrics_ports=lambda plan: (),  # upstream exports none
    stop_s=OPEN_REQUESTS_S + UPSTREAM_STOP_S,
    stateful=True,
    upgrades=_UPGRADES,
)
