"""lightrag-api: the read path over LightRAG's collections, and `POST /documents`."""

from pathlib import Path

from lightragctl.core.component import Amounts, Component, Plan, Probes, ProcessSpec, Resources, WorkloadValues
from lightragctl.core.settings import ApiSettings, Batching, Deadlines, EmbeddingModel, RequestLimits


class ApiValues(WorkloadValues):
    """Bounds on requests, batching and deadlines of the read path."""

    port: int = 8080
    limits: RequestLimits = RequestLimits()
    batching: Batching = Batching()
    deadlines: Deadlines = Deadlines()
    resources: Resources = Resources(
        requests=Amounts(cpu="500m", memory="256Mi"), limits=Amounts(cpu="2", memory="1Gi")
    )


def _settings(plan: Plan) -> ApiSettings:
    values = plan.values("lightrag-api")
    assert isinstance(values, ApiValues)
    profile = plan.profile
    return ApiSettings(
        host=plan.listen_host(),
        port=plan.port("lightrag-api"),
        workspace=profile.workspace,
        vector_engine_uri=plan.url("vector-engine"),
        gateway_url=plan.url("model-gateway"),
        embedding=EmbeddingModel.model_validate(
            profile.models.embedding.model_dump(include=set(EmbeddingModel.model_fields))
        ),
        chat_model=profile.models.chat.name,
        chunking=profile.chunking,
        index=profile.index,
        limits=values.limits,
        batching=values.batching,
        deadlines=values.deadlines,
    )


def _process(plan: Plan, data: Path) -> ProcessSpec:
    return ProcessSpec("lightragctl", ("serve", "api"), _settings(plan), stop_grace_s=15.0)


COMPONENT = Component(
    name="lightrag-api",
    summary="POST /retrieve, /query and /documents over LightRAG's collections",
    requires=("vector-engine", "model-gateway"),
    values=ApiValues,
    probes=Probes(ready="/readyz", live="/healthz", start_timeout_s=60),
    settings=_settings,
    process=_process,
)
