"""State of a release on a cluster: record, lock, drift, data at risk, rules, ends of logs. Read-only."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from lightragctl.checks.cluster_facts import read_facts
from lightragctl.checks.lint import RenderedObjects, lint
from lightragctl.core.errors import LightragctlError
from lightragctl.core.findings import Finding
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.core.profile import Runtime
from lightragctl.core.runtime import Revision
from lightragctl.deploy.apply import read_live
from lightragctl.deploy.desired_state import autoscaled_nodes, ignore_rules
from lightragctl.deploy.drift import ignored
from lightragctl.deploy.health import find_risks
from lightragctl.deploy.inventory import Inventory, ReleasePhase, from_object
from lightragctl.deploy.revision_store import read_revision
from lightragctl.deploy.rollback import read_holder
from lightragctl.deploy.rollout_plan import autoscalers, drift_since
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    ASLEEP,
    DANGERS,
    DRIFT,
    LAST_LINES,
    RECENT_SIGNS,
    RECORD,
    RULES,
    SIGNS,
    STORE_PLACES,
)
from lightragctl.diagnose.model import Change, Recorded, StorePlace, Written
from lightragctl.diagnose.signatures import RECENT_S, count_signs
from lightragctl.diagnose.text import hint_data, redacted
from lightragctl.kube.labels import component_of, inventory_selector
from lightragctl.kube.lease import lock_state
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import container_statuses, name_of
from lightragctl.observe.causes import without_frames
from lightragctl.observe.scaling import REPLICAS, scaled_to_zero
from lightragctl.observe.snapshot import read_snapshot

_LINES, _READY_LINES = 2000, 300
"""A Go program that panics writes the stacks of all its goroutines, more than a thousand lines, after the reason."""
_AT_ONCE = 6
_SHOWN_LINES = 8


def _last(source: Source) -> tuple[Inventory, Revision | None]:
    record = source.record
    if record is None:
        raise LightragctlError(f"there is no release '{source.release.name}' in namespace {source.scope.namespace}")
    return record, read_revision(source.scope, record.revision) if record.revision else None


def read_recorded(source: Source, facts: Facts) -> None:
    """Put `RECORD`."""
    record, _ = _last(source)
    held = read_holder(source.scope) if record.phase is ReleasePhase.APPLYING else None
    facts.put(
        RECORD,
        Recorded(
            phase=str(record.phase),
            revision=record.revision,
            components=list(record.components),
            stopped=record.phase is ReleasePhase.STOPPED,
            held_by=str(held) if held and held.holder else "",
            verdict=str(lock_state(held, source.scope.holder)) if held else "",
        ),
    )


def read_drift(source: Source, facts: Facts) -> None:
    """Put `DRIFT`; Secrets are left out, and so are all values."""
    record, last = _last(source)
    if last is None or record.phase is not ReleasePhase.APPLIED:
        facts.put(DRIFT, [])
        return
    looked_at = tuple(one for one in last.objects if one["kind"] != "Secret" and one["metadata"].get("namespace"))
    fields = drift_since(record, replace(last, objects=looked_at), read_live(source.scope, looked_at))
    facts.put(DRIFT, [Change(one.subject, one.path, one.manager, one.time, one.ours is None) for one in fields])


def read_asleep(source: Source, facts: Facts) -> None:
    """Put `ASLEEP`: who scaled workloads to zero, of those that are not meant to be."""
    record, last = _last(source)
    rules, applied = ignore_rules(record.profile), {ref(one): one for one in (last.objects if last else ())}
    scalers = autoscalers(source.scope)
    view = read_snapshot(source.scope)
    found = {}
    for one in (one for things in view.workloads.values() for one in things):
        why = scaled_to_zero(applied.get(ref(one)), one, ignored(rules, one)(REPLICAS), scalers)
        if why is not None and not why.is_meant:
            found[f"{one['kind']}/{name_of(one)}"] = str(why)
    facts.put(ASLEEP, found)


def read_dangers(source: Source, facts: Facts) -> None:
    """Put `DANGERS`, as `status` warns of them."""
    record, last = _last(source)
    view = read_snapshot(source.scope, autoscaled_nodes(record.profile))
    facts.put(DANGERS, [_written(one) for one in find_risks(source.scope, record, last, view)])


def read_rules(source: Source, facts: Facts) -> None:
    """Put `RULES`: whether the cluster still has what the applied objects need."""
    record, last = _last(source)
    if last is None or record.phase is ReleasePhase.STOPPED:
        facts.put(RULES, [])
        return
    rendered = RenderedObjects(
        last.objects, source.scope.namespace, autoscaled_nodes(record.profile), read_facts(source.scope)
    )
    facts.put(RULES, [_written(one) for one in lint(rendered)])


def _written(one: Finding) -> Written:
    return Written(one.code, str(one.severity), one.subject, redacted(one.message), hint_data(one.hint))


def read_store_places(source: Source, facts: Facts) -> None:
    """Put `STORE_PLACES`: of the releases in all namespaces, or in the release's own where we may not list others."""
    cluster = source.scope.cluster
    try:
        found = cluster.select("v1", "ConfigMap", "", inventory_selector())
    except ForbiddenError:
        found = cluster.select("v1", "ConfigMap", source.scope.namespace, inventory_selector())
    facts.put(STORE_PLACES, [place for one in found if (place := _store_place(one))])


def _store_place(config_map: KubernetesObject) -> StorePlace | None:
    try:
        inventory = from_object(config_map)
    except LightragctlError:
        return None
    engine = (inventory.profile.get("components") or {}).get("vector-engine") or {}
    store = engine.get("object_store") or {}
    if not store or "vector-engine" not in inventory.components:
        return None
    namespace = str((config_map.get("metadata") or {}).get("namespace", ""))
    root = str(store.get("root_path") or inventory.release)
    return StorePlace(inventory.release, namespace, str(store.get("endpoint")), str(store.get("bucket")), root)


def read_logs(source: Source, facts: Facts) -> None:
    """Put `SIGNS`, and `LAST_LINES`, which stay in this process: of containers that ended or are not ready.

    Of ready ones `RECENT_SIGNS`.
    """
    scope = source.scope
    lines: dict[str, list[str]] = {}
    signs: dict[str, dict[str, int]] = {}
    recent: dict[str, dict[str, int]] = {}
    pods = scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tails = list(pool.map(lambda pod: list(_tail(source, pod)), pods))
    for pod, tail in zip(pods, tails, strict=True):
        if _is_troubled(pod):
            lines[name_of(pod)] = without_frames(tail)[-_SHOWN_LINES:]
        mine = (signs if _is_troubled(pod) else recent).setdefault(component_of(pod), {})
        for name, count in count_signs(tail).items():
            mine[name] = mine.get(name, 0) + count
    facts.put(SIGNS, {component: found for component, found in signs.items() if found})
    facts.put(RECENT_SIGNS, {component: found for component, found in recent.items() if found})
    facts.put(LAST_LINES, lines)


def _is_troubled(pod: KubernetesObject) -> bool:
    return any(not one.get("ready") for one in container_statuses(pod))


def _tail(source: Source, pod: KubernetesObject) -> Iterator[str]:
    """The end of the log of the run that ended last, of a ready pod its last minutes; empty where there is none."""
    statuses = container_statuses(pod)
    ended = any("terminated" in (one.get("lastState") or {}) for one in statuses)
    runs = any("running" in (one.get("state") or {}) for one in statuses)
    lines, since_s = (_LINES, 0) if _is_troubled(pod) else (_READY_LINES, RECENT_S)
    previous, name, scope = ended and not runs, name_of(pod), source.scope
    try:
        yield from scope.cluster.log(
            scope.namespace, name, tail_lines=lines, follow=False, previous=previous, since_s=since_s
        )
    except LightragctlError:
        return


COLLECTORS = (
    Collector("record", (RECORD,), read_recorded, Runtime.KUBERNETES),
    Collector("drift", (DRIFT,), read_drift, Runtime.KUBERNETES, 20.0),
    Collector("asleep", (ASLEEP,), read_asleep, Runtime.KUBERNETES),
    Collector("dangers", (DANGERS,), read_dangers, Runtime.KUBERNETES, 20.0),
    Collector("rules", (RULES,), read_rules, Runtime.KUBERNETES, 20.0),
    Collector("store places", (STORE_PLACES,), read_store_places, Runtime.KUBERNETES),
    Collector("logs", (SIGNS, RECENT_SIGNS, LAST_LINES), read_logs, Runtime.KUBERNETES, 20.0),
)
