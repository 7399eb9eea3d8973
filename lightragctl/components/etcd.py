"""etcd: the metadata store of a Milvus with several pods."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from lightragctl.core.bounds import ImageRepository, ImageTag, Name
from lightragctl.core.component import Component, Part, Plan, Probes, Resources, Values, Workload
from lightragctl.core.findings import Violation
from lightragctl.core.settings import Port, ResourceAmounts, Size, StrictModel
from lightragctl.core.versions import Hop, HopKind, minor

METRICS_PORT = 2381
_START_S, _MIN_START_S, _GRACE_S = 120, 60, 30
"""Start timeout: default and minimum; grace period of a stop."""


class EtcdImage(StrictModel):
    """An image with `etcd` in its PATH. The default is that of the Milvus charts."""

    repository: ImageRepository = "milvusdb/etcd"
    tag: ImageTag = "3.5.5-r4"


class EtcdValues(Values, Workload):
    """`replicas`: the number of members, odd. `storage: null`: data is lost with the pod.

    `quota_bytes`: the database size from which etcd rejects writes.
    """

    port: Port = 2379
    replicas: Annotated[int, Field(ge=1, le=9)] | None = 3
    image: EtcdImage = EtcdImage()
    storage: Size | None = "10Gi"
    storage_class: Name | None = None
    quota_bytes: Annotated[int, Field(ge=1)] = 4 * 1024**3
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="250m", memory="512Mi"), limits=ResourceAmounts(cpu="1", memory="1Gi")
    )


def _unsupported(plan: Plan) -> Violation | None:
    values = plan.values_of("etcd", EtcdValues)
    if values.autoscale:
        message = "etcd does not scale automatically: members are added one at a time"
        return Violation("components.etcd.autoscale", message, "omit autoscale and set replicas: 3")
    return None


def _parts(plan: Plan) -> Sequence[Part]:
    values = plan.values_of("etcd", EtcdValues)
    grace_s = _GRACE_S if values.stop_grace_s is None else values.stop_grace_s
    start_s = values.start_timeout_s or _START_S
    return [
        Part("etcd", "", values, "StatefulSet", apart=True, start_timeout_s=start_s, stop_grace_s=grace_s),
    ]


_UPGRADES = (
    Hop(
        minor(3, 4),
        minor(3, 5),
        HopKind.ONE_WAY,
        "https://etcd.io/docs/v3.5/upgrades/upgrade_3_5/",
        "once every member runs 3.5, only a snapshot leads back",
    ),
    Hop(
        minor(3, 5, 20),
        minor(3, 6),
        HopKind.ONE_WAY,
        "https://etcd.io/docs/v3.6/upgrades/upgrade_3_6/",
        "before 3.5.20 removed members may come back",
    ),
)

COMPONENT = Component(
    name="etcd",
    summary="etcd: the metadata store of Milvus",
    requires=(),
    values=EtcdValues,
    probes=Probes(ready=None, live=None, start_timeout_s=_START_S, min_start_s=_MIN_START_S),
    settings=None,
    process=None,
    unsupported=_unsupported,
    parts=_parts,
    metrics_ports=lambda plan: (METRICS_PORT,),
    peers=True,
    quorum=True,
    store=True,
    stateful=True,
    upgrades=_UPGRADES,
)
