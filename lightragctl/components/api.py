"""lightrag-api: the read path over LightRAG's collections, and `POST /documents`."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lightragctl.components import lightrag_server
from lightragctl.core.bounds import Host, Name
from lightragctl.core.component import Component, Plan, Probes, ProcessSpec, Resources, ServiceValues
from lightragctl.core.findings import Violation
from lightragctl.core.placement import Labels
from lightragctl.core.profile import Runtime
from lightragctl.core.settings import (
    ApiSettings,
    Batching,
    Caching,
    CircuitBreaking,
    Deadlines,
    EmbeddingModel,
    LightragEndpoint,
    Logging,
    Port,
    Recording,
    RequestLimits,
    ResourceAmounts,
    SecretKey,
    SecretRef,
    StrictModel,
    check_slow_calls,
)

KEYS_FILE = "/etc/lightragctl-keys/api-keys"
"""The file with API keys in a pod."""

LIGHTRAG_KEY = "LIGHTRAGCTL_LIGHTRAG_API_KEY"
"""The environment variable with lightrag-server's API key."""


_NGINX = "nginx.ingress.kubernetes.io"
_PROXY_SPARE_S = 5
"""Added to the service's deadline for proxy timeouts, so that clients get the service's response."""

NodePort = Annotated[int, Field(ge=30000, le=32767)]
"""The default NodePort range of an API server."""


class Expose(StrictModel):
    """How the service is exposed to clients outside the cluster.

    `host`, `class_name`, `tls_secret` and `annotations` apply to an Ingress. For class `nginx` there are default
    annotations with the service's own limits of body size and time.
    """

    type: Literal["ClusterIP", "NodePort", "Ingress"] = "ClusterIP"
    node_port: NodePort | None = None
    host: Host | None = None
    class_name: Name | None = None
    tls_secret: Name | None = None
    annotations: Labels = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_its_type(self) -> "Expose":
        if self.type == "Ingress" and not self.host:
            raise ValueError("type Ingress requires host, the name that clients connect to")
        if self.type != "NodePort" and self.node_port is not None:
            raise ValueError(f"node_port requires type NodePort, the type is {self.type}")
        return self


class KeySource(StrictModel):
    """An existing Secret with one API key per line."""

    secret: SecretKey


class ApiValues(ServiceValues):
    """Limits, batching, caches, circuit breakers and deadlines of the read path, and its exposure on Kubernetes.

    `api_key: generated` generates a key once; `none` disables authentication.
    """

    port: Port = 8080
    expose: Expose = Expose()
    api_key: Literal["none", "generated"] | KeySource = "none"
    limits: RequestLimits = RequestLimits()
    batching: Batching = Batching()
    cache: Caching = Caching()
    breaking: CircuitBreaking = CircuitBreaking()
    recording: Recording = Recording()
    logging: Logging = Logging()
    deadlines: Deadlines = Deadlines()
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="500m", memory="256Mi"), limits=ResourceAmounts(cpu="2", memory="1Gi")
    )

    @property
    def ingress_annotations(self) -> dict[str, str]:
        """The annotations of the Ingress. The defaults of ingress-nginx are bodies of 1 MiB and timeouts of 60 s."""
        if self.expose.class_name not in ("nginx", None):
            return self.expose.annotations
        longest_s = max(self.deadlines.request_s, self.deadlines.chat_s, self.deadlines.write_s)
        wait_s = str(math.ceil(longest_s) + _PROXY_SPARE_S)
        defaults = {"body-size": str(self.limits.body_bytes), "read-timeout": wait_s, "send-timeout": wait_s}
        return {**{f"{_NGINX}/proxy-{name}": value for name, value in defaults.items()}, **self.expose.annotations}

    @model_validator(mode="after")
    def _slow_calls_are_seen(self) -> "ApiValues":
        check_slow_calls(self.breaking, self.deadlines)
        return self


def _settings(plan: Plan) -> ApiSettings:
    values = plan.values_of("lightrag-api", ApiValues)
    profile = plan.profile
    return ApiSettings(
        host=plan.listen_host(),
        port=plan.port("lightrag-api"),
        drain_s=plan.drain_s("lightrag-api"),
        api_keys_file=None if values.api_key == "none" else KEYS_FILE,
        shared=profile.runtime is Runtime.KUBERNETES,
        workspace=profile.workspace,
        vector_engine_uri=plan.url("vector-engine"),
        gateway_url=plan.url("model-gateway"),
        lightrag=_lightrag(plan),
        embedding=EmbeddingModel.model_validate(
            profile.models.embedding.model_dump(include=set(EmbeddingModel.model_fields))
        ),
        chat_model=profile.models.chat.name,
        chunking=profile.chunking,
        index=profile.index,
        limits=values.limits,
        batching=values.batching,
        cache=values.cache,
        breaking=values.breaking,
        recording=values.recording,
        recording_folder="/tmp/recordings" if profile.runtime is Runtime.KUBERNETES else "recordings",
        logging=values.logging,
        deadlines=values.deadlines,
    )


def _lightrag(plan: Plan) -> LightragEndpoint | None:
    if "lightrag-server" not in plan.components:
        return None
    key = SecretRef(env=LIGHTRAG_KEY) if plan.profile.runtime is Runtime.KUBERNETES else None
    return LightragEndpoint(url=plan.url("lightrag-server"), api_key=key)


def _secrets(plan: Plan) -> dict[str, SecretKey]:
    return {LIGHTRAG_KEY: lightrag_server.generated_key(plan.release)} if "lightrag-server" in plan.components else {}


def _generated_key(release: str) -> SecretKey:
    return SecretKey(name=f"{release}-lightrag-api-keys", key="api-keys")


def _process(plan: Plan, data: Path) -> ProcessSpec:
    return ProcessSpec("lightragctl", ("serve", "api"), _settings(plan), stop_grace_s=15.0)


def _unsupported(plan: Plan) -> Violation | None:
    api_key = plan.values_of("lightrag-api", ApiValues).api_key
    if plan.profile.runtime is Runtime.LOCAL and api_key != "none":
        message = "api_key is for Kubernetes: the local runtime listens only on loopback"
        return Violation("components.lightrag-api.api_key", message, "omit it")
    return None


def _outside(plan: Plan) -> list[str]:
    """The address of an external vector-engine."""
    return [] if "vector-engine" in plan.components else [plan.url("vector-engine")]


def _is_on_every_node(plan: Plan) -> bool:
    return plan.values_of("lightrag-api", ApiValues).expose.type == "NodePort"


COMPONENT = Component(
    name="lightrag-api",
    summary="POST /retrieve, /query and /documents over LightRAG's collections",
    requires=("vector-engine", "model-gateway"),
    values=ApiValues,
    probes=Probes(ready="/readyz", live="/healthz", start_timeout_s=60),
    settings=_settings,
    process=_process,
    unsupported=_unsupported,
    secrets=_secrets,
    generated_key=_generated_key,
    calls=("lightrag-server",),
    outside=_outside,
    entry=True,
    redundant=True,
    open_to_all=_is_on_every_node,
)
