"""Bringing a release up and taking it down, against the fake cluster: what is written, and what a death leaves."""

import pytest

from lightragctl.core.errors import LightragctlError, LockedError, NeedsAttentionError, RefusedError, WaitExpired
from lightragctl.core.objects import ObjectRef, ref
from lightragctl.core.runtime import Action, Differences, UpOptions
from lightragctl.deploy.down import describe_kept, tear_down
from lightragctl.deploy.inventory import ReleasePhase, inventory_ref
from lightragctl.deploy.revision import revision_ref
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.deploy.up import bring_up, preview, wanted
from lightragctl.kube.model import FieldConflictError, ForbiddenError
from tests.fakes.cluster import FakeCluster
from tests.fakes.release import DEPLOYMENT, KEYS, LEASE, OPTIONS, agree, history, ignore, lock_holder, plan, scope, up


def foreseen(cluster: FakeCluster, *assignments: str) -> Differences:
    return preview(scope(cluster), wanted(plan(*assignments)), OPTIONS)


def without_lease(writes: list[str]) -> list[str]:
    return [write for write in writes if "Lease/" not in write]


def test_a_first_up_makes_every_object_and_a_record_of_them() -> None:
    cluster = FakeCluster()
    changed = up(cluster)
    inventory = read_inventory(scope(cluster))
    assert inventory is not None
    assert inventory.phase is ReleasePhase.APPLIED
    own = {inventory_ref("dev", "lightrag"), revision_ref("dev", "lightrag", 1), LEASE}
    assert set(inventory.objects) | own == set(cluster.objects)
    assert len(changed) == len(inventory.objects)


def test_a_second_up_writes_nothing() -> None:
    cluster = FakeCluster()
    up(cluster)
    before = len(cluster.writes)
    assert up(cluster) == ()
    assert without_lease(cluster.writes[before:]) == []


def test_the_record_is_written_before_what_it_names() -> None:
    cluster = FakeCluster()
    up(cluster)
    first = cluster.writes.index("create ConfigMap/dev-lightragctl")
    assert without_lease(cluster.writes[:first]) == [
        "apply Namespace/lightrag",
        "create ConfigMap/dev-lightragctl-r1",
    ]


def test_workloads_come_after_what_they_require() -> None:
    cluster = FakeCluster()
    up(cluster)
    order = [write.split("/")[1] for write in cluster.writes if "Deployment/" in write or "StatefulSet/" in write]
    assert order.index("dev-model-gateway") > order.index("dev-embedder")
    assert order.index("dev-lightrag-api") > max(order.index("dev-model-gateway"), order.index("dev-vector-engine"))


def test_what_the_profile_no_longer_wants_is_deleted_last() -> None:
    cluster = FakeCluster()
    up(cluster)
    before = len(cluster.writes)
    up(cluster, "components.mock-llm.enabled=false", "models.chat.url=http://llm")
    assert not [one for one in cluster.objects if one.name.startswith("dev-mock-llm")]
    deleted = [number for number, write in enumerate(cluster.writes[before:]) if write.startswith("delete")]
    applied = [number for number, write in enumerate(cluster.writes[before:]) if write.startswith("apply")]
    assert deleted
    assert min(deleted) > max(applied)


def test_a_difference_shows_what_changes_and_nothing_else() -> None:
    cluster = FakeCluster()
    up(cluster)
    seen = foreseen(cluster, "components.embedder.replicas=2")
    assert [(one.subject, one.action) for one in seen.differing] == [
        ("Deployment/dev-embedder", Action.CONFIGURED),
        ("PodDisruptionBudget/dev-embedder", Action.CREATED),
    ]
    changed = [line for line in seen.differing[0].text.splitlines()[2:] if line[0] in "+-"]
    assert changed == ["-  replicas: 1", "+  replicas: 2"]


def test_a_generated_key_is_made_once_and_survives_up_and_down() -> None:
    cluster = FakeCluster()
    up(cluster)
    key = cluster.objects[KEYS]["data"]["api-keys"]
    up(cluster, "components.embedder.replicas=2")
    tear_down(scope(cluster), False, 5.0, ignore)
    up(cluster)
    assert cluster.objects[KEYS]["data"]["api-keys"] == key


def test_a_key_never_shows_in_a_difference() -> None:
    cluster = FakeCluster()
    up(cluster)
    key = cluster.objects[KEYS]["data"]["api-keys"]
    cluster.objects[KEYS]["metadata"]["labels"]["track"] = "odd"
    del cluster.objects[KEYS]["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    seen = foreseen(cluster)
    assert [one.subject for one in seen.differing] == ["Secret/dev-lightrag-api-keys"]
    assert key not in seen.differing[0].text


def test_down_keeps_keys_namespace_and_record_and_says_so() -> None:
    cluster = FakeCluster()
    up(cluster)
    assert tear_down(scope(cluster), False, 5.0, ignore)
    assert sorted(one.kind for one in cluster.objects) == [
        "ConfigMap",
        "ConfigMap",
        "Lease",
        "Namespace",
        "Secret",
        "Secret",
    ]
    assert "Secret/dev-lightrag-api-keys" in describe_kept(scope(cluster), read_inventory(scope(cluster)))
    inventory = read_inventory(scope(cluster))
    assert inventory is not None
    assert inventory.phase is ReleasePhase.STOPPED
    assert not tear_down(scope(cluster), False, 5.0, ignore)


def test_a_purge_leaves_nothing() -> None:
    cluster = FakeCluster()
    up(cluster)
    assert tear_down(scope(cluster), True, 5.0, ignore)
    assert cluster.objects == {}
    assert not tear_down(scope(cluster), True, 5.0, ignore)


def test_a_purge_after_down_leaves_nothing() -> None:
    cluster = FakeCluster()
    up(cluster)
    tear_down(scope(cluster), False, 5.0, ignore)
    tear_down(scope(cluster), True, 5.0, ignore)
    assert cluster.objects == {}


def test_a_namespace_that_was_there_stays_as_it_was() -> None:
    cluster = FakeCluster()
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag", "labels": {"team": "a"}}}
    cluster.apply(theirs, manager="kubectl")
    up(cluster)
    tear_down(scope(cluster), True, 5.0, ignore)
    assert [ref(thing) for thing in cluster.objects.values()] == [ref(theirs)]
    assert cluster.objects[ref(theirs)]["metadata"]["labels"] == {"team": "a"}


def test_a_purge_leaves_a_namespace_that_another_release_uses() -> None:
    cluster = FakeCluster()
    up(cluster)
    bring_up(scope(cluster, "two"), plan(release="two"), OPTIONS, agree, ignore)
    tear_down(scope(cluster), True, 5.0, ignore)
    assert ObjectRef("v1", "Namespace", "", "lightrag") in cluster.objects
    assert read_inventory(scope(cluster, "two")) is not None


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_a_purge_leaves_a_namespace_in_which_others_keep_something(kind: str) -> None:
    cluster = FakeCluster()
    up(cluster)
    theirs = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "tls", "namespace": "lightrag"}, "data": {}}
    cluster.apply(theirs, manager="kubectl")
    told: list[str] = []
    tear_down(scope(cluster), True, 5.0, lambda event: told.append(event.message))
    assert {one.kind for one in cluster.objects} == {"Namespace", kind}
    assert f"kept: it contains objects of others: {kind}/tls" in told


def test_a_value_that_changes_no_object_is_recorded_and_counts() -> None:
    cluster = FakeCluster()
    up(cluster)
    rule = "drift.ignore=[{kind: Deployment, path: spec.progressDeadlineSeconds}]"
    assert up(cluster, rule) == ()
    inventory = read_inventory(scope(cluster))
    assert inventory is not None
    assert inventory.profile["drift"]["ignore"]
    assert history(cluster)[0].description == "only values of the profile, no objects"
    before = len(cluster.writes)
    assert up(cluster, rule) == ()
    assert without_lease(cluster.writes[before:]) == []


def test_who_may_read_the_namespace_alone_gets_a_status() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.hidden = {"Secret", "PriorityClass", "Node"}
    seen = KubernetesRuntime(cluster, "lightrag", "dev", lock_holder()).status()  # type: ignore[arg-type]
    assert seen.ready
    assert seen.drift == ()
    assert "Secret/dev-lightrag-api-keys" in seen.data


def test_a_field_of_another_manager_stops_up_before_anything_is_written() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.edit(DEPLOYMENT, "kubectl-edit", ("spec", "progressDeadlineSeconds"), 7)
    before = list(cluster.writes)
    with pytest.raises(FieldConflictError) as caught:
        up(cluster)
    assert caught.value.fields == (("spec.progressDeadlineSeconds", "kubectl-edit"),)
    assert "live 7, set by kubectl-edit (Update) at 2026-01-01T00:00:00Z" in caught.value.message
    assert without_lease(cluster.writes) == without_lease(before)
    told: list[str] = []
    forced = UpOptions(5.0, force_conflicts=True)
    bring_up(scope(cluster), plan(), forced, agree, lambda event: told.append(f"{event.subject} {event.message}"))
    assert "Deployment/dev-embedder taken over: spec.progressDeadlineSeconds of kubectl-edit" in told
    assert cluster.objects[DEPLOYMENT]["spec"]["progressDeadlineSeconds"] != 7


def test_a_second_operator_is_refused_at_once_and_told_who_is_at_work() -> None:
    cluster = FakeCluster()
    up(cluster)

    def interfere(differences: Differences) -> None:
        second = scope(cluster, by=lock_holder("ben@desk", alive=lambda pid: True))
        bring_up(second, plan("components.embedder.replicas=3"), OPTIONS, agree, ignore)

    with pytest.raises(LockedError, match=r"the lock of release 'dev' is held by ann@laptop"):
        bring_up(scope(cluster), plan("components.embedder.replicas=2"), OPTIONS, interfere, ignore)


def test_a_run_that_lost_the_lock_writes_nothing_more() -> None:
    cluster = FakeCluster()
    up(cluster)

    def taken_over(differences: Differences) -> None:
        up(cluster, "components.embedder.replicas=3")

    with pytest.raises(LockedError):
        bring_up(scope(cluster), plan("components.embedder.replicas=2"), OPTIONS, taken_over, ignore)
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 3


def test_a_refusal_by_the_user_writes_nothing() -> None:
    cluster = FakeCluster()

    def refuse(differences: Differences) -> None:
        raise LightragctlError("nothing was changed: not confirmed")

    with pytest.raises(LightragctlError, match="not confirmed"):
        bring_up(scope(cluster), plan(), OPTIONS, refuse, ignore)
    assert cluster.writes == []


def test_missing_permissions_are_all_named_with_the_rule_that_grants_them() -> None:
    cluster = FakeCluster()
    cluster.denied = {"patch deployments.apps", "create secrets"}
    with pytest.raises(ForbiddenError) as caught:
        up(cluster)
    assert "patch deployments.apps" in caught.value.message
    assert 'apiGroups: ["apps"], resources: [deployments], verbs: [patch]' in caught.value.hint
    assert cluster.writes == []


def test_the_right_to_see_the_namespace_is_named_with_the_others() -> None:
    cluster = FakeCluster()
    up(cluster)
    before = list(cluster.writes)
    cluster.hidden, cluster.denied = {"Namespace"}, {"get namespaces", "create secrets"}
    with pytest.raises(ForbiddenError) as caught:
        up(cluster)
    assert 'apiGroups: [""], resources: [namespaces], verbs: [get]' in caught.value.hint
    assert "resources: [secrets], verbs: [create]" in caught.value.hint
    assert cluster.writes == before


class Lingering(FakeCluster):
    """A cluster that cannot finish the deletion of a namespace."""

    def _remove(self, identity: ObjectRef) -> None:
        if identity.kind != "Namespace":
            super()._remove(identity)
            return
        message = "unable to retrieve the complete list of server APIs: metrics.k8s.io/v1beta1: stale GroupVersion"
        stuck = {"status": "True", "reason": "DiscoveryFailed", "message": message}
        self.objects[identity]["status"] = {"conditions": [{"status": "False", "reason": "ContentDeleted"}, stuck]}


def test_a_purge_that_waits_for_its_namespace_says_what_holds_it() -> None:
    cluster = Lingering()
    up(cluster)
    with pytest.raises(WaitExpired, match=r"deleting Namespace/lightrag: .*metrics\.k8s\.io/v1beta1"):
        tear_down(scope(cluster), True, 0.0, ignore)


@pytest.mark.parametrize("verb", ["get", "create", "update"])
def test_without_the_right_to_the_lock_nothing_begins(verb: str) -> None:
    cluster = FakeCluster()
    up(cluster)
    before = list(cluster.writes)
    cluster.denied = {f"{verb} leases.coordination.k8s.io"}
    with pytest.raises(ForbiddenError) as caught:
        up(cluster)
    assert f'apiGroups: ["coordination.k8s.io"], resources: [leases], verbs: [{verb}]' in caught.value.hint
    assert cluster.writes == before


def test_objects_in_a_new_namespace_are_said_to_be_unchecked() -> None:
    seen = foreseen(FakeCluster())
    notes = {one.subject: one.note for one in seen.changes}
    assert notes["Deployment/dev-embedder"].startswith("not checked by the server")
    assert notes["Namespace/lightrag"] == ""


def test_what_cannot_be_deleted_stays_known_and_is_tried_again() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.undeletable = {"Service"}
    with pytest.raises(NeedsAttentionError, match="could not be deleted: Service/dev-mock-llm"):
        up(cluster, "components.mock-llm.enabled=false", "models.chat.url=http://llm")
    cluster.undeletable = set()
    up(cluster, "components.mock-llm.enabled=false", "models.chat.url=http://llm")
    assert not [one for one in cluster.objects if one.name.startswith("dev-mock-llm")]


def test_a_secret_that_is_not_wanted_any_more_is_deleted_only_with_prune_data() -> None:
    cluster = FakeCluster()
    up(cluster)
    up(cluster, "components.lightrag-api.api_key=none")
    assert KEYS in cluster.objects
    assert up(cluster, "components.lightrag-api.api_key=none") == ()
    up(cluster, "components.lightrag-api.api_key=none", options=UpOptions(5.0, prune_data=True))
    assert KEYS not in cluster.objects


def test_claims_of_a_component_that_is_gone_are_deleted_only_with_prune_data() -> None:
    cluster = FakeCluster()
    up(cluster)
    labels = {"app.kubernetes.io/instance": "dev", "app.kubernetes.io/component": "mock-llm"}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-dev-mock-llm-0", "namespace": "lightrag", "labels": labels},
        "spec": {},
    }
    cluster.apply(claim, manager="kube-controller-manager")
    without = ("components.mock-llm.enabled=false", "models.chat.url=http://llm")
    up(cluster, *without)
    assert ref(claim) in cluster.objects
    up(cluster, *without, options=UpOptions(5.0, prune_data=True))
    assert ref(claim) not in cluster.objects


def test_what_is_somebody_elses_by_now_is_neither_pruned_nor_taken_down() -> None:
    cluster = FakeCluster()
    up(cluster)
    taken, remade = (ObjectRef("v1", "Service", "lightrag", f"dev-{name}") for name in ("mock-llm", "embedder"))
    cluster.objects[taken]["metadata"]["labels"]["app.kubernetes.io/instance"] = "two"
    cluster.delete(remade, cluster.objects[remade]["metadata"]["uid"])
    metadata = {"name": remade.name, "namespace": remade.namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {}}, manager="kubectl-create")
    without = ("components.mock-llm.enabled=false", "models.chat.url=http://llm")
    elsewhere = ("components.embedder.enabled=false", "models.embedding.url=http://model")
    up(cluster, *without, *elsewhere)
    assert {taken, remade} <= set(cluster.objects)
    tear_down(scope(cluster), False, 5.0, ignore)
    assert {taken, remade} <= set(cluster.objects)


def test_a_purge_without_the_record_goes_by_labels() -> None:
    cluster = FakeCluster()
    theirs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lightrag"}}
    cluster.apply(theirs, manager="kubectl")
    up(cluster)
    del cluster.objects[inventory_ref("dev", "lightrag")]
    assert tear_down(scope(cluster), True, 5.0, ignore)
    assert [ref(thing) for thing in cluster.objects.values()] == [ref(theirs)]


@pytest.mark.parametrize("manager", ["kubectl", ""])
def test_a_component_scaled_to_zero_by_hand_is_not_ready_and_up_brings_it_back(manager: str) -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.edit(DEPLOYMENT, manager or "kubectl", ("spec", "replicas"), 0)
    if not manager:  # the API server notes nobody for a zero of `kubectl scale`
        del cluster.owned[DEPLOYMENT, "kubectl"]
    seen = KubernetesRuntime(cluster, "lightrag", "dev", lock_holder()).status()  # type: ignore[arg-type]
    (part,) = [one for one in seen.components if one.name == "embedder"]
    assert (str(part.state), part.replicas) == ("not ready", "0/0")
    assert part.message.startswith("scaled to 0 by kubectl")
    assert [(one.path, one.ours, one.theirs) for one in seen.drift] == [("spec.replicas", 1, 0)]
    assert up(cluster) == ("Deployment/dev-embedder configured",)
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 1


def test_a_zero_of_an_autoscaler_is_left_to_it() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.edit(DEPLOYMENT, "keda-operator", ("spec", "replicas"), 0)
    seen = KubernetesRuntime(cluster, "lightrag", "dev", lock_holder()).status()  # type: ignore[arg-type]
    assert seen.ready
    assert "scaled to 0 by keda-operator" in [one.message for one in seen.components]
    up(cluster)
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 0


def test_nothing_is_made_in_a_namespace_that_is_being_deleted() -> None:
    cluster = FakeCluster()
    up(cluster)
    cluster.objects[ObjectRef("v1", "Namespace", "", "lightrag")]["metadata"]["deletionTimestamp"] = "12:00"
    with pytest.raises(RefusedError, match="namespace lightrag has been terminating since 12:00"):
        up(cluster)
    seen = KubernetesRuntime(cluster, "lightrag", "dev", lock_holder()).status()  # type: ignore[arg-type]
    assert [one for one in seen.warnings if one.startswith("Namespace/lightrag: terminating since 12:00")]
