"""Whoever stood still between the question for the lock and the write changes nothing of what others did meanwhile."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from lightragctl.core.errors import LockedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.deploy.conditional import apply_over, is_unchanged
from lightragctl.deploy.down import tear_down
from lightragctl.deploy.rollout import roll_out
from lightragctl.kube.lease import unlock
from lightragctl.kube.model import ChangedMeanwhileError
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import (
    DEPLOYMENT,
    LEASE,
    NAMESPACE,
    OPTIONS,
    STATEFUL_SET,
    agree,
    ignore,
    lock_holder,
    scope,
    state,
    target,
    up,
)

ANNA = lock_holder("anna@laptop", alive=lambda pid: True)
THREE, TWO = "components.embedder.replicas=3", "components.embedder.replicas=2"
NAMESPACE_REF = ObjectRef("v1", "Namespace", "", NAMESPACE)
CLAIM = ObjectRef("v1", "PersistentVolumeClaim", NAMESPACE, "data-dev-vector-engine-0")


class StandsStill(FakeCluster):
    """A cluster to which the first write of one object is under way while something else happens."""

    def __init__(self, identity: ObjectRef, meanwhile: Callable[["StandsStill"], object]) -> None:
        super().__init__()
        self.identity, self.meanwhile = identity, meanwhile
        self.armed = False

    def _reach(self, identity: ObjectRef) -> None:
        if self.armed and identity == self.identity:
            self.armed = False
            self.meanwhile(self)

    def apply(self, thing: KubernetesObject, *, dry_run: bool = False, **options: Any) -> dict[str, Any]:
        if not dry_run:
            self._reach(ref(thing))
        return super().apply(thing, dry_run=dry_run, **options)

    def delete(self, identity: ObjectRef, uid: str, **options: Any) -> bool:
        self._reach(identity)
        return super().delete(identity, uid, **options)


def bert(*assignments: str) -> Callable[[FakeCluster], object]:
    """Somebody who takes the lock away and brings the release up."""

    def act(cluster: FakeCluster) -> None:
        unlock(cluster, LEASE, lock_holder("bert@desk"), even_if_fresh=True)
        up(cluster, *assignments)

    return act


def anna_up(cluster: FakeCluster) -> None:
    roll_out(scope(cluster, by=ANNA), target(THREE), OPTIONS, agree, ignore)


def anna_down(cluster: FakeCluster) -> None:
    tear_down(scope(cluster, by=ANNA), False, 5.0, ignore)


def anna_purge(cluster: FakeCluster) -> None:
    tear_down(scope(cluster, by=ANNA), True, 5.0, ignore)


@pytest.mark.parametrize("berts", [(TWO,), ()], ids=["which he changes", "which he leaves as it is"])
def test_an_apply_under_way_is_refused_where_another_has_taken_the_release(berts: tuple[str, ...]) -> None:
    cluster = StandsStill(DEPLOYMENT, bert(*berts))
    up(cluster)
    cluster.armed = True
    with pytest.raises(LockedError):
        anna_up(cluster)
    assert not cluster.armed
    whole = FakeCluster()
    up(whole, *berts)
    assert state(cluster) == state(whole)


@pytest.mark.parametrize(
    ("anna", "identity"),
    [(anna_down, DEPLOYMENT), (anna_down, STATEFUL_SET), (anna_purge, CLAIM), (anna_purge, NAMESPACE_REF)],
    ids=["Deployment", "StatefulSet", "claim", "namespace"],
)
def test_a_deletion_under_way_is_refused_where_another_has_taken_the_release(
    anna: Callable[[FakeCluster], None], identity: ObjectRef
) -> None:
    cluster = StandsStill(identity, bert())
    up(cluster)
    cluster.create(claim())
    cluster.armed = True
    with pytest.raises(LockedError):
        anna(cluster)
    assert not cluster.armed
    assert identity in cluster.objects


def claim() -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/instance": "dev",
        "app.kubernetes.io/component": "vector-engine",
    }
    metadata = {"name": CLAIM.name, "namespace": NAMESPACE, "labels": labels}
    spec = {"resources": {"requests": {"storage": "20Gi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def test_what_appeared_under_a_wanted_name_is_not_adopted() -> None:
    def stranger(cluster: FakeCluster) -> None:
        metadata = {"name": DEPLOYMENT.name, "namespace": NAMESPACE}
        thing = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 7}}
        cluster.create(thing)

    cluster = StandsStill(DEPLOYMENT, stranger)
    cluster.armed = True
    with pytest.raises(ChangedMeanwhileError):
        anna_up(cluster)
    assert cluster.objects[DEPLOYMENT]["spec"] == {"replicas": 7}


class Busy(FakeCluster):
    """A cluster whose controllers write the status of everything before every second write, or before each."""

    def __init__(self, rests: bool = True) -> None:
        super().__init__()
        self.rests = rests
        self.count = 0

    def _move(self) -> None:
        self.count += 1
        if self.rests and self.count % 2:
            return
        with self._lock:
            for thing in self.objects.values():
                if thing["kind"] in ("Deployment", "StatefulSet"):
                    thing["metadata"]["resourceVersion"] = str(next(self._numbers))
                    thing.setdefault("status", {})["moved"] = "yes"

    def apply(self, thing: KubernetesObject, *, dry_run: bool = False, **options: Any) -> dict[str, Any]:
        if not dry_run:
            self._move()
        return super().apply(thing, dry_run=dry_run, **options)

    def delete(self, identity: ObjectRef, uid: str, **options: Any) -> bool:
        self._move()
        return super().delete(identity, uid, **options)


def test_a_status_that_moves_stops_nobody() -> None:
    cluster = Busy()
    up(cluster)
    up(cluster, THREE)
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 3
    tear_down(scope(cluster), True, 5.0, ignore)
    assert DEPLOYMENT not in cluster.objects


def test_an_object_that_never_holds_still_is_given_up() -> None:
    cluster = Busy(rests=False)
    thing = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"}, "spec": {}}
    seen = cluster.apply(thing)
    with pytest.raises(ChangedMeanwhileError, match="continuously by others"):
        apply_over(cluster, {**thing, "spec": {"replicas": 2}}, seen)


def live(**changes: Any) -> dict[str, Any]:
    entries = [
        {"manager": "lightragctl", "operation": "Apply", "fieldsV1": {"f:spec": {"f:a": {}}}},
        {"manager": "controller", "operation": "Update", "fieldsV1": {"f:spec": {"f:b": {}}}},
    ]
    metadata = {"name": "n", "uid": "u", "resourceVersion": "1", "managedFields": entries}
    thing: dict[str, Any] = {"kind": "K", "metadata": metadata, "spec": {"a": 1, "b": 1, "c": 1}, "status": {"x": 1}}
    made = copy.deepcopy(thing)
    for path, value in changes.items():
        part, _, key = path.partition("_")
        made[part][key] = value
    return made


WANTED = {"kind": "K", "metadata": {"name": "n"}, "spec": {"a": 2, "c": 1}}


@pytest.mark.parametrize(
    ("seen", "now", "same"),
    [
        (None, None, True),
        (None, live(), False),
        (live(), None, False),
        (live(), live(metadata_resourceVersion="2", status_x=2), True),
        (live(), live(spec_b=2), True),
        (live(), live(spec_a=3), False),
        (live(), live(spec_c=3), False),
        (live(), live(metadata_uid="v"), False),
        (live(), live(metadata_deletionTimestamp="now"), False),
        (live(), live(metadata_managedFields=[]), False),
    ],
    ids=["none", "appeared", "gone", "status", "of others", "ours", "wanted", "made anew", "ending", "taken over"],
)
def test_what_counts_as_unchanged(seen: KubernetesObject | None, now: KubernetesObject | None, same: bool) -> None:
    assert is_unchanged(seen, now, WANTED) is same
