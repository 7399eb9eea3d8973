"""Reads a release for the steps of an upgrade: its pods, their metrics and their answers. I/O."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from lightragctl.backup.site import engine_uri
from lightragctl.client.api import ApiClient
from lightragctl.client.scrape import read_metrics
from lightragctl.core.component import Plan
from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.quantity import quantity
from lightragctl.core.result import Notify
from lightragctl.core.runtime import UpOutcome
from lightragctl.deploy.desired_state import DesiredState
from lightragctl.deploy.kept_upgrade import value_at
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.deploy.up import wanted
from lightragctl.kube.guarded import GuardedCluster
from lightragctl.kube.labels import pod_selector
from lightragctl.kube.objects import container_statuses, is_ready, is_terminating, spec_of
from lightragctl.kube.scope import Scope
from lightragctl.operations.kind import Context
from lightragctl.quality.exact import recall
from lightragctl.quality.golden import GoldenMissingError
from lightragctl.release.golden import known, place
from lightragctl.release.probe import prove_search
from lightragctl.release.profiles import make_plan
from lightragctl.release.recorded import checked_profile
from lightragctl.release.release import Release
from lightragctl.upgrade.canary import track_of
from lightragctl.upgrade.gate import Gate
from lightragctl.upgrade.gates import Judgement
from lightragctl.upgrade.golden_gate import judge_answers, overlap
from lightragctl.upgrade.prometheus import ask, filled
from lightragctl.upgrade.samples import PodSample, Track, parse
from lightragctl.vectors.inspect import CollectionState, StoreInspector

_ANSWER_S, _STORE_S = 30.0, 30.0
_RESULTS = 10


@dataclass(frozen=True)
class Site:
    """A release on a cluster, for the steps of an upgrade.

    Attributes:
        scope: of the release.
        metrics: by component: the metrics of its ready pods, by pod; those that could be read.
        answers: the verdicts of these gates on the answers of a canary of lightrag-api.
        query: the value that the Prometheus at an address gives a gate's query for these pods; None: there is none.
        collections: of the vector store, by name.
        prove: raises when a search through the release does not succeed.
    """

    scope: Scope
    metrics: Callable[[str], Mapping[str, str]]
    answers: Callable[[Sequence[str], Sequence[str], Sequence[Gate]], list[Judgement]]
    query: Callable[[str, str, Sequence[str]], float | None]
    collections: Callable[[], Mapping[str, CollectionState]]
    prove: Callable[[float, Notify], object]

    def guarded(self, context: Context) -> Scope:
        """The scope, which writes only while the driver holds its lock."""
        return replace(self.scope, cluster=GuardedCluster(self.scope.cluster, context.check))


def site_of(release: Release) -> Site:
    """The site of a release that is up.

    Raises:
        RefusedError: it runs as local processes.
    """
    runtime = release.runtime
    if not isinstance(runtime, KubernetesRuntime):
        hint = Hint("install the new version of lightragctl, then: ", Command("up"))
        raise RefusedError("this release runs as local processes: there are no pods to upgrade one by one", hint)

    def metrics(component: str) -> Mapping[str, str]:
        try:
            addresses = runtime.endpoints(component)
        except LightragctlError:  # none is ready
            return {}
        with ThreadPoolExecutor(max(1, len(addresses))) as threads:
            texts = dict(zip(addresses, threads.map(read_metrics, addresses.values()), strict=True))
        return {name: text for name, text in texts.items() if text is not None}

    def answers(stable: Sequence[str], canary: Sequence[str], gates: Sequence[Gate]) -> list[Judgement]:
        return judge_answers(gates, *_answers(release, runtime, (stable, canary)))

    def query(address: str, text: str, pods: Sequence[str]) -> float | None:
        return ask(address, filled(text, pods))

    def prove(timeout_s: float, notify: Notify) -> object:
        return prove_search(release, UpOutcome((), runtime.status()), timeout_s, notify)

    def collections() -> Mapping[str, CollectionState]:
        with closing(StoreInspector(engine_uri(release), _STORE_S)) as store:
            return {name: store.inspect(name) for name in store.list_collections()}

    return Site(runtime.scope, metrics, answers, query, collections, prove)


def _answers(
    release: Release, runtime: KubernetesRuntime, pods: tuple[Sequence[str], Sequence[str]]
) -> tuple[list[float], list[float], list[float]]:
    """Ask one pod of each track every query of the golden set.

    Returns:
        Recall of stable and canary pod where the answer is known, and the overlap of each; empty without a golden set.
    """
    try:
        golden, _ = known(release, place(release, None))
    except GoldenMissingError:
        return [], [], []
    addresses, key = runtime.endpoints("lightrag-api"), runtime.api_key()
    chosen = [next((addresses[name] for name in names if name in addresses), "") for names in pods]
    if not all(chosen):
        raise LightragctlError("the golden set could not be queried: no pod of each version is ready")
    k = min(_RESULTS, golden.head.k)
    stable, canary, common = [], [], []
    with closing(_client(chosen[0], key)) as old, closing(_client(chosen[1], key)) as new:
        for answer in golden.answers:
            before, after = (_found(client, answer.query.text, k) for client in (old, new))
            common.append(overlap(before, after))
            if answer.query.row is None:
                stable.append(recall(before, answer.neighbours, k))
                canary.append(recall(after, answer.neighbours, k))
    return stable, canary, common


def _client(address: str, key: str | None) -> ApiClient:
    return ApiClient(address, timeout_s=_ANSWER_S, api_key=key)


def _found(client: ApiClient, question: str, k: int) -> list[str]:
    return [hit.id for hit in client.retrieve(question, top_k=k, recorded=False).hits]


def target_plan(context: Context) -> Plan:
    """The plan that the operation leads to, from its parameters.

    Raises:
        ProfileError: this lightragctl does not understand its profile.
    """
    given = context.record.parameters
    return make_plan(context.record.release, checked_profile(given["profile_name"], given["profile"]))


def target(context: Context) -> DesiredState:
    """The desired state that the operation leads to."""
    return replace(
        wanted(target_plan(context)),
        overrides=dict(context.record.parameters["overrides"]),
        description=f"upgrade {context.record.id}",
    )


def overrides_of(before: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """By key of the assignments that `--image` stands for: the value before."""
    keys = [one.partition("=")[0] for one in assignments]
    return {key: value_at(before, key) for key in keys}


def read_pods(site: Site, component: str) -> list[KubernetesObject]:
    """The component's pods that are not terminating."""
    labels = pod_selector(site.scope.release, component)
    found = site.scope.cluster.select("v1", "Pod", site.scope.namespace, labels)
    return [one for one in found if not is_terminating(one)]


def read_samples(site: Site, component: str, now_s: float) -> list[PodSample]:
    """What each pod of the component shows now; a pod without metrics only what the cluster says of it."""
    pods, texts = read_pods(site, component), site.metrics(component)
    found = []
    for pod in pods:
        track = track_of(pod)
        if track is not None:
            bare = _bare(pod, track, now_s)
            found.append(parse(texts[bare.pod], bare) if bare.pod in texts else bare)
    return found


def _bare(pod: KubernetesObject, track: Track, now_s: float) -> PodSample:
    limits = (spec_of(pod).get("containers") or [{}])[0].get("resources", {}).get("limits") or {}
    return PodSample(
        pod=pod["metadata"]["name"],
        track=track,
        at_s=now_s,
        ready=is_ready(pod),
        restarts=sum(int(one.get("restartCount", 0)) for one in container_statuses(pod)),
        cpu_limit=float(quantity(limits["cpu"])) if "cpu" in limits else 0.0,
        memory_limit=float(quantity(limits["memory"])) if "memory" in limits else 0.0,
    )
