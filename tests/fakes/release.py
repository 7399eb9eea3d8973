"""A release of profile `dev` on the fake cluster: what the tests of the deploy engine share."""

import copy
import functools
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from lightragctl.core.component import Plan
from lightragctl.core.objects import ObjectRef
from lightragctl.core.runtime import Differences, Revision, UpOptions
from lightragctl.deploy.desired_state import DesiredState
from lightragctl.deploy.revision import revision_ref
from lightragctl.deploy.rollback import read_history, rollback_target
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.up import wanted
from lightragctl.kube.labels import CONTENT
from lightragctl.kube.lease import LockHolder
from lightragctl.kube.scope import Scope
from lightragctl.release.profiles import load_profile, make_plan
from tests.fakes.cluster import FakeCluster

OPTIONS = UpOptions(timeout_s=5.0)
NAMESPACE = "lightrag"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEPLOYMENT = ObjectRef("apps/v1", "Deployment", NAMESPACE, "dev-embedder")
STATEFUL_SET = ObjectRef("apps/v1", "StatefulSet", NAMESPACE, "dev-vector-engine")
KEYS = ObjectRef("v1", "Secret", NAMESPACE, "dev-lightrag-api-keys")
LEASE = ObjectRef("coordination.k8s.io/v1", "Lease", NAMESPACE, "dev-lightragctl")
_pids = itertools.count(100)


def lock_holder(
    who: str = "ann@laptop",
    *,
    machine: str = "m",
    now: datetime = NOW,
    alive: Callable[[int], bool] = lambda pid: False,
) -> LockHolder:
    """Somebody who runs the tool; by default whoever ran it before on the same machine is dead."""
    pid = next(_pids)
    clock = itertools.count(0.0, 0.001)
    return LockHolder(who, pid, f"r{pid}", machine, lambda: now, alive, lambda: next(clock), lambda seconds: None)


def plan(*assignments: str, release: str = "dev") -> Plan:
    return make_plan(release, load_profile("dev", (), assignments))


def scope(cluster: FakeCluster, release: str = "dev", by: LockHolder | None = None) -> Scope:
    return Scope(cluster, NAMESPACE, release, by or lock_holder())


def agree(differences: Differences) -> None:
    """Approves everything."""


def ignore(event: object) -> None:
    """Takes progress."""


@functools.cache
def target(*assignments: str) -> DesiredState:
    """What the assignments want; rendered once, which is what takes time."""
    return wanted(plan(*assignments))


def up(cluster: FakeCluster, *assignments: str, options: UpOptions = OPTIONS) -> tuple[str, ...]:
    return roll_out(scope(cluster), target(*assignments), options, agree, ignore)


def rollback(cluster: FakeCluster, number: int | None = None, options: UpOptions = OPTIONS) -> tuple[str, ...]:
    return roll_out(scope(cluster), rollback_target(scope(cluster), number), options, agree, ignore)


def history(cluster: FakeCluster) -> list[Revision]:
    return read_history(scope(cluster))


def state(cluster: FakeCluster) -> dict[ObjectRef, Mapping[str, Any]]:
    """What a user would compare: every object without versions; generated values count as being there."""
    revisions = set(cluster.objects) & {revision_ref("dev", NAMESPACE, number) for number in range(20)}
    return {
        identity: {**_without_content(thing), "metadata": None, "data": sorted(thing.get("data", {}))}
        for identity, thing in cluster.objects.items()
        if identity != LEASE and identity not in revisions
    }


def _without_content(thing: Mapping[str, Any]) -> dict[str, Any]:
    """The object without the digest of what its pods read, which has generated values in it."""
    made = copy.deepcopy(dict(thing))
    template = (made.get("spec") or {}).get("template") or {}
    ((template.get("metadata") or {}).get("annotations") or {}).pop(CONTENT, None)
    return made
