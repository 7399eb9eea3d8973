"""model-gateway: the proxy between our services and the models."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from lightragctl.components.model_server import server_url
from lightragctl.core.component import Component, Plan, Probes, ProcessSpec, Resources, ServiceValues
from lightragctl.core.profile import ServedModel
from lightragctl.core.settings import GatewaySettings, Port, ResourceAmounts, SecretKey, Upstream

_EMBEDDING_KEY = "LIGHTRAGCTL_EMBEDDING_API_KEY"
_CHAT_KEY = "LIGHTRAGCTL_CHAT_API_KEY"


class GatewayValues(ServiceValues):
    """`timeout_s`: of one request to a model."""

    port: Port = 8081
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="100m", memory="64Mi"), limits=ResourceAmounts(cpu="1", memory="256Mi")
    )


def _settings(plan: Plan) -> GatewaySettings:
    values = plan.values_of("model-gateway", GatewayValues)
    models = plan.profile.models
    return GatewaySettings(
        host=plan.listen_host(),
        port=plan.port("model-gateway"),
        drain_s=plan.drain_s("model-gateway"),
        embedding=Upstream(
            url=_model_url(plan, models.embedding, "embedder"),
            api_key=plan.secret(_EMBEDDING_KEY, models.embedding.api_key),
        ),
        chat=Upstream(
            url=_model_url(plan, models.chat, "mock-llm"),
            api_key=plan.secret(_CHAT_KEY, models.chat.api_key),
        ),
        timeout_s=values.timeout_s,
    )


def _model_url(plan: Plan, model: ServedModel, ours: str) -> str:
    if model.url:
        return model.url
    return server_url(plan, model.server) if model.server else plan.url(ours)


def _outside(plan: Plan) -> list[str]:
    models = plan.profile.models
    return [one.url for one in (models.embedding, models.chat) if one.url]


def _process(plan: Plan, data: Path) -> ProcessSpec:
    return ProcessSpec("lightragctl", ("serve", "gateway"), _settings(plan))


def _secrets(plan: Plan) -> dict[str, SecretKey]:
    models = plan.profile.models
    references = {_EMBEDDING_KEY: models.embedding.api_key, _CHAT_KEY: models.chat.api_key}
    return {name: reference.secret for name, reference in references.items() if reference and reference.secret}


COMPONENT = Component(
    name="model-gateway",
    summary="OpenAI-compatible proxy in front of the models",
    requires=("embedder", "mock-llm", "model-server"),
    values=GatewayValues,
    probes=Probes(ready="/readyz", live="/healthz", start_timeout_s=30),
    settings=_settings,
    process=_process,
    secrets=_secrets,
    outside=_outside,
    redundant=True,
)
