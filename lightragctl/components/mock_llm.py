"""mock-llm: a mock chat model for tests, and for machines without a model."""

from pathlib import Path

from lightragctl.core.component import Component, Plan, Probes, ProcessSpec, Resources, ServiceValues
from lightragctl.core.settings import Faults, MockLlmSettings, Port, ResourceAmounts


class MockLlmValues(ServiceValues, Faults):
    """Faults to inject from the start; `PUT /faults` changes them at run time."""

    port: Port = 8082
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="50m", memory="64Mi"), limits=ResourceAmounts(cpu="500m", memory="256Mi")
    )


def _settings(plan: Plan) -> MockLlmSettings:
    values = plan.values_of("mock-llm", MockLlmValues)
    return MockLlmSettings(
        host=plan.listen_host(),
        port=plan.port("mock-llm"),
        drain_s=plan.drain_s("mock-llm"),
        embedding_dimension=plan.profile.models.embedding.dimension,
        faults=Faults.model_validate(values.model_dump(include=set(Faults.model_fields))),
    )


def _process(plan: Plan, data: Path) -> ProcessSpec:
    return ProcessSpec("lightragctl", ("serve", "mock-llm"), _settings(plan))


COMPONENT = Component(
    name="mock-llm",
    summary="mock chat model: answers with sentences of the passages",
    requires=(),
    values=MockLlmValues,
    probes=Probes(ready="/readyz", live="/healthz", start_timeout_s=30),
    settings=_settings,
    process=_process,
    replaced=lambda plan: plan.is_served_elsewhere(plan.profile.models.chat, "mock-llm"),
)
