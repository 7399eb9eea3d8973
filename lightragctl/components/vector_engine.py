"""vector-engine: Milvus in one of five topologies; locally Milvus Lite as a server with Milvus's protocol."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from lightragctl.components.etcd import EtcdValues
from lightragctl.core.bounds import DataKey, ImageRepository, ImageTag, Name
from lightragctl.core.component import Component, Part, Plan, Probes, ProcessSpec, Resources, Values, Workload
from lightragctl.core.findings import Violation
from lightragctl.core.profile import Runtime
from lightragctl.core.settings import Address, Port, ResourceAmounts, SecretKey, Size, StrictModel
from lightragctl.core.versions import Hop, HopKind, Range, minor

METRICS_PORT = 9091
_ALONE, _HA = "standalone", "standalone-ha"
_GRACE_S = {"proxy": 60, "coordinator": 60, "querynode": 600, "datanode": 300, "indexnode": 300}
"""Grace periods. A query node hands over its segments before it stops; rarely this took 20 to 30 minutes elsewhere."""
_COMMANDS = {
    "coordinator": ("mixture", "-rootcoord", "-querycoord", "-datacoord", "-indexcoord"),
    "proxy": ("proxy",),
    "querynode": ("querynode",),
    "datanode": ("datanode",),
    "indexnode": ("indexnode",),
}
_UPDATE_ORDER = ("indexnode", "coordinator", "querynode", "datanode", "proxy")
"""As milvus-operator updates a cluster with combined coordinators up to 2.5; a downgrade is in reverse order."""
_STOP = {"COMMON_GRACEFULSTOPTIMEOUT": "5"}
"""On SIGTERM a query node waits until others have taken over its segments, by default up to half an hour. A single one
waits in vain; with this timeout it flushes and stops, 11 s after SIGTERM as measured with 2.3.5."""
_COORDINATORS = ("ROOTCOORD", "QUERYCOORD", "DATACOORD", "INDEXCOORD")


class MilvusImage(StrictModel):
    """The server's image."""

    repository: ImageRepository = "milvusdb/milvus"
    tag: ImageTag = "v2.3.5"

    @field_validator("tag")
    @classmethod
    def _leading_v(cls, tag: str) -> str:
        if re.match(r"^\d", tag):
            raise ValueError(f"Milvus's image tags have a leading v: write v{tag}")
        return tag


class StoreKeys(StrictModel):
    """The Secret with the object store's two keys, and their names in it."""

    secret: Name
    access_key: DataKey = "access-key"
    secret_key: DataKey = "secret-key"


class ObjectStore(StrictModel):
    """The data store of a Milvus with several pods: an S3 bucket at `endpoint`, HOST:PORT.

    `credentials`, or `iam` if the nodes or the ServiceAccount have access to the bucket. `root_path`: the folder in the
    bucket; default: the release's name.
    """

    endpoint: Address
    bucket: str
    root_path: str | None = None
    region: str = ""
    tls: bool = True
    iam: bool = False
    credentials: StoreKeys | None = None


class QueueKeys(StrictModel):
    """The Secret with user name and password for the message queue, and their names in it."""

    secret: Name
    username: DataKey = "username"
    password: DataKey = "password"


class Queue(StrictModel):
    """The message queue, HOST:PORT; without `address`, the release's component kafka."""

    kind: Literal["kafka", "pulsar"] = "kafka"
    address: Address | None = None
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    credentials: QueueKeys | None = None


def _sized(cpu: str, memory: str, cpu_limit: str) -> Resources:
    return Resources(
        requests=ResourceAmounts(cpu=cpu, memory=memory), limits=ResourceAmounts(cpu=cpu_limit, memory=memory)
    )


class Coordinator(Workload):
    """All coordinators; with several pods, one is active and the others are on standby."""

    resources: Resources = _sized("500m", "1Gi", "2")


class Proxy(Workload):
    """Accepts requests and forwards them; stateless."""

    resources: Resources = _sized("500m", "1Gi", "2")


class QueryNode(Workload):
    """Holds loaded collections in memory and searches them."""

    resources: Resources = _sized("1", "4Gi", "4")


class DataNode(Workload):
    """Writes rows to the object store."""

    resources: Resources = _sized("500m", "2Gi", "2")


class IndexNode(Workload):
    """Builds indexes."""

    resources: Resources = _sized("500m", "2Gi", "4")


class Roles(StrictModel):
    """The roles of topology `cluster`."""

    coordinator: Coordinator = Coordinator()
    proxy: Proxy = Proxy()
    querynode: QueryNode = QueryNode()
    datanode: DataNode = DataNode()
    indexnode: IndexNode = IndexNode()


class VectorEngineValues(Values, Workload):
    """Milvus. `replicas`, `resources` and the like apply to the topologies standalone and standalone-ha.

    `lite`: local runtime only. `standalone`: one Milvus server with its own volume. `standalone-ha`: several such
    servers, one active, with etcd, an object store and a message queue. `cluster`: a Deployment per role, with the same
    three. `external`: an existing Milvus at `url`. `etcd`: HOST:PORT of its members; default: the release's component
    etcd.
    """

    port: Port = 19530
    topology: Literal["lite", "standalone", "standalone-ha", "cluster", "external"] = "standalone"
    url: Address | None = None
    image: MilvusImage = MilvusImage()
    storage: Size = "20Gi"
    storage_class: Name | None = None
    stop_grace_s: Annotated[int, Field(ge=30)] | None = 120
    resources: Resources = Resources(
        requests=ResourceAmounts(cpu="500m", memory="1Gi"), limits=ResourceAmounts(cpu="2", memory="4Gi")
    )
    etcd: tuple[Address, ...] = ()
    object_store: ObjectStore | None = None
    queue: Queue = Queue()
    roles: Roles = Roles()

    @property
    def address(self) -> str | None:
        """See `Values`."""
        return self.url if self.topology == "external" else None

    @property
    def is_shared(self) -> bool:
        """Whether its data is in etcd, an object store and a message queue."""
        return self.topology in (_HA, "cluster")

    @model_validator(mode="after")
    def _fits_its_topology(self) -> "VectorEngineValues":
        if self.port == METRICS_PORT:
            raise ValueError(f"port {METRICS_PORT} is used by Milvus's metrics: use another one")
        several = self.autoscale.max if self.autoscale else self.least
        if several > 1 and self.topology in ("lite", _ALONE):
            raise ValueError(
                f"{several} replicas of Milvus {self.topology} are {several} separate databases behind one address; "
                "keep replicas: 1, or use topology: cluster, which scales its roles, or standalone-ha with one active "
                "server and others on standby"
            )
        if self.autoscale:
            raise ValueError("only roles.proxy and roles.querynode support autoscale")
        if self.roles.coordinator.autoscale:
            raise ValueError(
                "further coordinators are on standby and do not share work: set roles.coordinator.replicas: 2"
            )
        if (self.topology == "external") != bool(self.url):
            raise ValueError("topology external requires url, such as http://milvus.example:19530, and only it has one")
        if self.is_shared and self.object_store is None:
            raise ValueError(f"topology {self.topology} stores its data in S3: it needs object_store")
        return self


def _values(plan: Plan) -> VectorEngineValues:
    return plan.values_of("vector-engine", VectorEngineValues)


def _process(plan: Plan, data: Path) -> ProcessSpec:
    """Milvus Lite as a server: it locks its data exclusively, so other processes connect to its address.

    It gets one worker. With its default of ten threads, two concurrent first calls after a start open the same
    collection twice, and rows written to one of them are lost; nor are they faster.
    """
    where = (
        "--data-dir",
        str(data / "milvus"),
        "--host",
        plan.listen_host(),
        "--port",
        str(plan.port("vector-engine")),
    )
    return ProcessSpec(module="milvus_lite.cmdline", arguments=("server", *where, "--max-workers", "1"))


def _unsupported(plan: Plan) -> Violation | None:
    key, topology = "components.vector-engine.topology", _values(plan).topology
    if plan.profile.runtime is Runtime.KUBERNETES and topology == "lite":
        return Violation(key, "lite is for the local runtime only", f"use --set {key}=standalone")
    if plan.profile.runtime is Runtime.LOCAL and topology != "lite":
        return Violation(key, f"{topology} is for Kubernetes only", f"use --set {key}=lite")
    return None


def _parts(plan: Plan) -> Sequence[Part]:
    values = _values(plan)
    if values.topology != "cluster":
        kind, role = ("StatefulSet", "") if values.topology == _ALONE else ("Deployment", _ALONE)
        return [_part(values, role, (_ALONE,), kind, 120)]
    made = [
        _part(getattr(values.roles, role), role, command, "Deployment", _GRACE_S[role])
        for role, command in _COMMANDS.items()
    ]
    return made


def _part(values: Workload, role: str, command: tuple[str, ...], kind: str, grace_s: int) -> Part:
    return Part(
        "vector-engine",
        role,
        values,
        kind,
        apart=role in ("coordinator", _ALONE),
        command=command,
        start_timeout_s=values.start_timeout_s or START_S,
        stop_grace_s=grace_s if values.stop_grace_s is None else values.stop_grace_s,
        section=f"roles.{role}" if role in _COMMANDS else "",
    )


def _environment(plan: Plan) -> Mapping[str, str]:
    """Milvus's configuration as environment variables: the path of a key in capitals, joined by `_`."""
    values, port = _values(plan), str(plan.port("vector-engine"))
    if not values.is_shared:
        own = {"ETCD_USE_EMBED": "true", "ETCD_DATA_DIR": "/var/lib/milvus/etcd", "COMMON_STORAGETYPE": "local"}
        return {**own, "PROXY_PORT": port, **_STOP}
    store = values.object_store
    assert store is not None
    host, store_port = host_and_port(store.endpoint, 443 if store.tls else 80)
    pods = values.roles.coordinator.least if values.topology == "cluster" else values.least
    return {
        "ETCD_USE_EMBED": "false",
        "ETCD_ENDPOINTS": ",".join(values.etcd or _etcd_members(plan)),
        "ETCD_ROOTPATH": plan.release,
        "MSGCHANNEL_CHANNAMEPREFIX_CLUSTER": plan.release,
        "COMMON_STORAGETYPE": "remote",
        "MINIO_ADDRESS": host,
        "MINIO_PORT": str(store_port),
        "MINIO_BUCKETNAME": store.bucket,
        "MINIO_ROOTPATH": store.root_path or plan.release,
        "MINIO_REGION": store.region,
        "MINIO_USESSL": str(store.tls).lower(),
        "MINIO_USEIAM": str(store.iam).lower(),
        "PROXY_PORT": port,
        **(_STOP if values.topology == _HA else {}),
        **_queue_environment(values.queue, _queue_address(plan)),
        **{f"{one}_ENABLEACTIVESTANDBY": str(pods > 1).lower() for one in _COORDINATORS},
    }


def _queue_environment(queue: Queue, address: str) -> Mapping[str, str]:
    if queue.kind == "pulsar":
        host, port = host_and_port(address, 6650)
        return {"MQ_TYPE": "pulsar", "PULSAR_ADDRESS": host, "PULSAR_PORT": str(port)}
    found = {"MQ_TYPE": "kafka", "KAFKA_BROKERLIST": address, "KAFKA_SECURITYPROTOCOL": queue.protocol}
    return {**found, "KAFKA_SASLMECHANISMS": queue.mechanism} if queue.credentials else found


def _etcd_members(plan: Plan) -> tuple[str, ...]:
    values = plan.values_of("etcd", EtcdValues)
    service = f"{plan.release}-etcd"
    return tuple(f"{service}-{number}.{service}-members:{values.port}" for number in range(values.least))


def _queue_address(plan: Plan) -> str:
    queue = _values(plan).queue
    return queue.address or f"{plan.release}-kafka:{plan.port('kafka')}"


def _secrets(plan: Plan) -> Mapping[str, SecretKey]:
    values = _values(plan)
    found: dict[str, SecretKey] = {}
    if not values.is_shared:
        return found
    if values.object_store and (keys := values.object_store.credentials):
        found["MINIO_ACCESSKEYID"] = SecretKey(name=keys.secret, key=keys.access_key)
        found["MINIO_SECRETACCESSKEY"] = SecretKey(name=keys.secret, key=keys.secret_key)
    if values.queue.kind == "kafka" and (user := values.queue.credentials):
        found["KAFKA_SASLUSERNAME"] = SecretKey(name=user.secret, key=user.username)
        found["KAFKA_SASLPASSWORD"] = SecretKey(name=user.secret, key=user.password)
    return found


def _outside(plan: Plan) -> Sequence[str]:
    values = _values(plan)
    if not values.is_shared or values.object_store is None:
        return ()
    queue = values.queue.address.split(",") if values.queue.address else ()
    return (values.object_store.endpoint, *queue, *values.etcd)


def _uses_iam(plan: Plan) -> bool:
    values = _values(plan)
    return values.is_shared and values.object_store is not None and values.object_store.iam


def host_and_port(address: str, default: int) -> tuple[str, int]:
    """Host and port of an address, with or without a scheme."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    return parts.hostname or "", parts.port or default


START_S = 180
"""A standalone Milvus with data took up to 129 s to recover after SIGKILL."""

_NOTES = "https://milvus.io/docs/upgrade_milvus_cluster-operator.md and the release notes of each minor"
_UPGRADES = (
    Hop(
        minor(2, 1),
        minor(2, 2),
        HopKind.REFUSED,
        "https://milvus.io/docs/v2.2.x/upgrade_milvus_standalone-helm.md",
        "the metadata have to be migrated with Milvus's own tool first",
    ),
    Hop(
        minor(2, 2, 15),
        minor(2, 3),
        HopKind.ONE_WAY,
        "https://milvus.io/docs/v2.3.x/upgrade_milvus_standalone-helm.md",
        "2.3.0 to 2.3.2 lack fixes of rolling restarts: prefer 2.3.3 or later",
    ),
    Hop(minor(2, 3), minor(2, 4), HopKind.ONE_WAY, _NOTES, "Milvus's charts from 4.2.0 on do not support 2.3"),
    Hop(
        minor(2, 4),
        minor(2, 5),
        HopKind.ONE_WAY,
        "https://github.com/milvus-io/milvus/issues/39203",
        "2.4 cannot read the scalar indexes that 2.5 writes",
    ),
    Hop(
        minor(2, 5, 16),
        Range((2, 6, 0), (2, 7, 0)),
        HopKind.ONE_WAY,
        "https://milvus.io/docs/upgrade_milvus_cluster-helm.md",
        "needs mixed coordinators and streaming nodes; index nodes end",
    ),
)

COMPONENT = Component(
    name="vector-engine",
    summary="Milvus: stores and searches the vectors",
    requires=("etcd", "kafka"),
    values=VectorEngineValues,
    # Liveness is the open port, not /healthz, which fails if only a part is slow.
    probes=Probes(ready=None, live=None, start_timeout_s=START_S),
    settings=None,
    process=_process,
    unsupported=_unsupported,
    secrets=_secrets,
    parts=_parts,
    environment=_environment,
    update_order=_UPDATE_ORDER,
    outside=_outside,
    node_credentials=_uses_iam,
    metrics_ports=lambda plan: (METRICS_PORT,),
    peers=True,
    store=True,
    stateful=True,
    upgrades=_UPGRADES,
)
