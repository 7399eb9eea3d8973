"""vector-engine: Milvus. Milvus Lite as a local process, or the standalone server on Kubernetes."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lightragctl.core.component import Component, Plan, Probes, ProcessSpec, Resources, Values
from lightragctl.core.profile import Runtime
from lightragctl.core.settings import Amounts, Quantity, Strict


class MilvusImage(Strict):
    """The server's image."""

    repository: str = "milvusdb/milvus"
    tag: str = "v2.3.5"

    @field_validator("tag")
    @classmethod
    def _leading_v(cls, tag: str) -> str:
        if re.match(r"^\d", tag):
            raise ValueError(f"Milvus's image tags carry a leading v: write v{tag}")
        return tag


class VectorEngineValues(Values):
    """`lite` runs on this machine only; `standalone` is one Milvus server with its own volume."""

    port: int = 19530
    topology: Literal["lite", "standalone"] = "standalone"
    replicas: Annotated[int, Field(ge=1)] = 1
    image: MilvusImage = MilvusImage()
    storage: Quantity = "20Gi"
    storage_class: str | None = None
    stop_grace_s: Annotated[int, Field(ge=30)] = 120
    resources: Resources = Resources(requests=Amounts(cpu="500m", memory="1Gi"), limits=Amounts(cpu="2", memory="4Gi"))

    @model_validator(mode="after")
    def _one_replica(self) -> "VectorEngineValues":
        if self.replicas > 1:
            raise ValueError(
                f"{self.replicas} replicas of Milvus {self.topology} are {self.replicas} separate databases behind one "
                "address; keep replicas: 1 (topologies that scale, standalone-ha and cluster, are not available yet)"
            )
        return self


def _process(plan: Plan, data: Path) -> ProcessSpec:
    """Milvus Lite holds an exclusive lock on its data, so every other process reaches it by address.

    It answers one call at a time. With its ten threads, two first calls after a start open the same collection twice,
    and rows written to one of the two are lost; they are no faster either.
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


def _unfit(plan: Plan) -> tuple[str, str] | None:
    values = plan.values("vector-engine")
    assert isinstance(values, VectorEngineValues)
    match plan.profile.runtime, values.topology:
        case Runtime.KUBERNETES, "lite":
            return "lite runs only on one machine", "say --set components.vector-engine.topology=standalone"
        case Runtime.LOCAL, "standalone":
            return "standalone runs only on Kubernetes", "say --set components.vector-engine.topology=lite"
    return None


COMPONENT = Component(
    name="vector-engine",
    summary="Milvus: stores and searches the vectors",
    requires=(),
    values=VectorEngineValues,
    # 180 s: a standalone Milvus with data took up to 129 s to come back after a kill. Its liveness is the open port,
    # never /healthz, which turns bad when only a part of it is slow.
    probes=Probes(ready=None, live=None, start_timeout_s=180),
    settings=None,
    process=_process,
    unfit=_unfit,
)
