"""A release on the fake cluster whose Deployments have pods with metrics that grow with the test's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lightragctl.core.result import Event, Notify
from lightragctl.kube.labels import component_of
from lightragctl.operations.control import begin, drive
from lightragctl.operations.desk import Clock, Crew
from lightragctl.operations.kind import Started, new_operation
from lightragctl.operations.model import Operation
from lightragctl.operations.place import Place
from lightragctl.upgrade.gates import Judgement, Verdict
from lightragctl.upgrade.site import Site
from lightragctl.upgrade.strategies.replicas import replicas_kind
from lightragctl.vectors.inspect import CollectionState
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import lock_holder, plan, scope, up

ID = "upgrade-0001"
KIND = replicas_kind(lambda resources: resources.site)
TAG = "components.lightrag-api.tag=v2"
START = datetime(2026, 1, 1, tzinfo=UTC)
BASE = ("components.lightrag-api.replicas=3",)


class PodCluster(FakeCluster):
    """Deployments have pods."""

    def __init__(self, die_at: int = 0, after: bool = False) -> None:
        super().__init__(die_at, after)
        self.restarts: dict[str, int] = {}

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        if (api_version, kind) != ("v1", "Pod"):
            return super().select(api_version, kind, namespace, selector)
        wanted = dict(pair.split("=") for pair in selector.split(",") if "=" in pair)
        kinds = ("Deployment", "StatefulSet")
        found = [one for kind in kinds for one in super(PodCluster, self).select("apps/v1", kind, namespace)]
        pods = [pod for one in found for pod in self._pods(one)]
        return [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]

    def _pods(self, deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
        template, name = deployment["spec"]["template"], deployment["metadata"]["name"]
        names = [f"{name}-{number}" for number in range(deployment["spec"].get("replicas", 1))]
        return [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": one,
                    "namespace": "lightrag",
                    "labels": template["metadata"]["labels"],
                    "uid": one,
                },
                "spec": template["spec"],
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"restartCount": self.restarts.get(one, 0), "ready": True}],
                },
            }
            for one in names
        ]


@dataclass
class Town:
    """The world of one upgrade.

    Attributes:
        rate: requests per second to each pod.
        canary_errors: share of the canary's requests that fail.
        answers: verdicts of the golden set.
    """

    cluster: PodCluster = field(default_factory=PodCluster)
    rate: float = 100.0
    canary_errors: float = 0.0
    answers: Sequence[Judgement] = ()
    now: datetime = START
    events: list[Event] = field(default_factory=list)
    searches: int = 0
    collections: Mapping[str, CollectionState] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        cluster = scope(self.cluster)
        rest = (self.query, lambda: self.collections, self.prove)
        return Site(cluster, self.metrics, lambda *asked: list(self.answers), *rest)

    def query(self, address: str, text: str, pods: Sequence[str]) -> float | None:
        """Each pod has a load of its own: the canary 7, the others 3."""
        return 7.0 if any("canary" in one for one in pods) else 3.0

    def prove(self, timeout_s: float, notify: Notify) -> None:
        self.searches += 1

    def metrics(self, component: str) -> Mapping[str, str]:
        pods = self.cluster.select("v1", "Pod", "lightrag", "app.kubernetes.io/instance=dev")
        return {one["metadata"]["name"]: self._text(one) for one in pods if component_of(one) == component}

    def _text(self, pod: Mapping[str, Any]) -> str:
        elapsed_s = (self.now - START).total_seconds()
        is_canary = pod["metadata"]["labels"]["track"] == "canary"
        requests = round(elapsed_s * self.rate)
        errors = round(requests * self.canary_errors) if is_canary else 0
        labels = 'route="/retrieve",code="200"'
        lines = [
            f'lightragctl_http_requests_total{{route="/retrieve",code="503"}} {errors}.0',
            f"lightragctl_http_requests_total{{{labels}}} {requests - errors}.0",
            f"lightragctl_http_request_seconds_sum{{{labels}}} {requests * 0.01}",
            f'lightragctl_http_request_seconds_bucket{{{labels},le="0.01"}} {requests * 0.5}',
            f'lightragctl_http_request_seconds_bucket{{{labels},le="0.02"}} {requests * 0.995}',
            f'lightragctl_http_request_seconds_bucket{{{labels},le="+Inf"}} {requests}.0',
            "process_start_time_seconds 1.5e+09",
            f"process_cpu_seconds_total {elapsed_s * 0.1}",
            "process_resident_memory_bytes 1e+08",
        ]
        return "\n".join(lines) + "\n"

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def crew(self) -> Crew:
        return Crew((KIND,), self, Clock(lambda: self.now, self.pause), "ann@laptop", self.events.append)

    @property
    def place(self) -> Place:
        return Place("dev", lock_holder(), scope(self.cluster))

    def begin(self, canary: bool = True, *assignments: str) -> None:
        wanted = plan(*BASE, *(assignments or (TAG,)))
        parameters = {
            "profile_name": wanted.profile_name,
            "profile": wanted.profile.model_dump(mode="json"),
            "overrides": {"components.lightrag-api.tag": None},
            "components": ["lightrag-api"],
            "canary": canary,
            "observe_s": 150.0,
        }
        record = new_operation(KIND, "dev", parameters, Started("ann@laptop", self.now, "1.0", "0001"))
        begin(self.place, record, self.events.append)

    def drive(self) -> Operation:
        return drive(self.place, ID, self.crew())

    def run(self, canary: bool = True) -> Operation:
        up(self.cluster, *BASE)
        self.begin(canary)
        return self.drive()


def bad_answers() -> list[Judgement]:
    return [Judgement("overlap", Verdict.FAILED, "2 % of results as from the stable pods")]
