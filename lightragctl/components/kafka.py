"""kafka: a single broker, the message queue of a Milvus with several pods, not for production."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from lightragctl.core.bounds import ImageRepository, ImageTag, Name
from lightragctl.core.component import Component, Part, Plan, Probes, Resources, Values, Workload
from lightragctl.core.findings import Violation
from lightragctl.core.settings import Port, ResourceAmounts, Size, StrictModel
from lightragctl.core.versions import Hop, HopKind, Range

_START_S, _MIN_START_S, _GRACE_S = 120, 60, 60
"""Start timeout: default and minimum; grace period of a stop."""


class KafkaImage(StrictModel):
    """An image with Kafka in /opt/kafka."""

    repository: ImageRepository = "apache/kafka"
    tag: ImageTag = "3.9.1"


class KafkaValues(Values, Workload):
    """`heap`: of the JVM, such as 512m. `storage: null`: data is lost with the pod."""

    port: Port = 9092
    image: KafkaImage = KafkaImage()
    heap: Annotated[str, Field(pattern=r"^[1-9][0-9]*[kKmMgG]?$")] = "512m"
    storage: Size | None = "10Gi"
    storage_class: Name | None = None
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="250m", memory="1Gi"), limits=ResourceAmounts(cpu="2", memory="1Gi")
    )


def _unsupported(plan: Plan) -> Violation | None:
    values = plan.values_of("kafka", KafkaValues)
    if values.least > 1 or values.autoscale:
        hint = "use an external Kafka cluster: components.vector-engine.queue.address"
        return Violation(
            "components.kafka.replicas", "this kafka is a single broker; several of them form no cluster", hint
        )
    return None


def _parts(plan: Plan) -> Sequence[Part]:
    values = plan.values_of("kafka", KafkaValues)
    grace_s = _GRACE_S if values.stop_grace_s is None else values.stop_grace_s
    return [
        Part(
            "kafka", "", values, "StatefulSet", start_timeout_s=values.start_timeout_s or _START_S, stop_grace_s=grace_s
        )
    ]


_SOURCE = "https://kafka.apache.org/documentation/#upgrade"
_UPGRADES = (
    Hop(
        Range((3, 3, 0), (4, 0, 0)),
        Range((3, 3, 0), (4, 0, 0)),
        HopKind.ONE_WAY,
        _SOURCE,
        "no downgrade once metadata.version is raised",
    ),
    Hop(
        Range((3, 3, 0), (4, 0, 0)),
        Range((4, 0, 0), (5, 0, 0)),
        HopKind.ONE_WAY,
        _SOURCE,
        "only in KRaft mode; no downgrade once metadata.version is raised",
    ),
    Hop(
        Range((4, 0, 0), (5, 0, 0)),
        Range((4, 0, 0), (5, 0, 0)),
        HopKind.ONE_WAY,
        _SOURCE,
        "no downgrade once metadata.version is raised",
    ),
)

COMPONENT = Component(
    name="kafka",
    summary="one Kafka broker: Milvus's message queue, for testing",
    requires=(),
    values=KafkaValues,
    probes=Probes(ready=None, live=None, start_timeout_s=_START_S, min_start_s=_MIN_START_S),
    settings=None,
    process=None,
    unsupported=_unsupported,
    parts=_parts,
    metrics_ports=lambda plan: (),
    store=True,
    stateful=True,
    upgrades=_UPGRADES,
)
