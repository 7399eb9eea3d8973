"""What others have done to our objects, and what is left to them."""

from typing import Any

import pytest

from lightragctl.core.objects import ref
from lightragctl.core.profile import IgnoreRule
from lightragctl.core.runtime import ForeignField
from lightragctl.deploy.changeset import HIDDEN
from lightragctl.deploy.drift import contested, drift, ignored, without_foreign_fields
from lightragctl.observe.scaling import REPLICAS as REPLICAS_PATH
from lightragctl.observe.scaling import scaled_to_zero

OURS: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "n", "labels": {"a": "1"}},
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "api", "image": "v1", "env": []}]}}},
}
IMAGE = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"api"}': {"f:image": {}}}}}}}
REPLICAS = {"f:spec": {"f:replicas": {}}}


def live(replicas: int = 1, image: str = "v1", *entries: tuple[str, dict[str, Any]], **extra: Any) -> dict[str, Any]:
    """The Deployment as the server has it, with who holds which fields."""
    held = [
        {"manager": manager, "operation": "Update", "time": "T", "fieldsV1": fields, **extra}
        for manager, fields in entries
    ]
    containers = [{"name": "api", "image": image, "env": [{"name": "X", "value": "1"}]}]
    spec = {"replicas": replicas, "paused": True, "template": {"spec": {"containers": containers}}}
    return {**OURS, "metadata": {**OURS["metadata"], "managedFields": held}, "spec": spec}


def told(there: dict[str, Any] | None, *rules: IgnoreRule) -> list[str]:
    found = {ref(OURS): there} if there else {}
    return [f"{one.path} {one.ours} {one.theirs} {one.manager}" for one in drift([OURS], found, rules)]


def test_nothing_is_told_of_an_object_that_only_we_hold() -> None:
    assert told(live(1, "v1", ("lightragctl", REPLICAS), ("lightragctl-generated", IMAGE))) == []
    assert told(live(3, "v2")) == []  # nobody is said to hold it: a default that the server wrote


def test_a_changed_field_is_told_with_both_values_and_by_whom() -> None:
    assert told(live(1, "v2", ("kubectl-edit", IMAGE))) == [
        "spec.template.spec.containers[name=api].image v1 v2 kubectl-edit"
    ]


def test_an_added_field_is_told_where_it_changes_what_the_object_does() -> None:
    assert told(live(1, "v1", ("kubectl-set", {"f:spec": {"f:paused": {}}}))) == ["spec.paused None True kubectl-set"]
    noted = {"f:metadata": {"f:annotations": {"f:note": {}}}}
    assert told(live(1, "v1", ("kubectl-annotate", noted))) == []


def test_a_removed_field_and_a_removed_object_are_told() -> None:
    there = live(1, "v1")
    del there["spec"]["template"]["spec"]["containers"][0]["image"]
    assert told(there) == ["spec.template.spec.containers[name=api].image v1 None "]
    assert told(None) == [" None None "]


def test_an_autoscaler_and_a_status_are_no_drift() -> None:
    assert told(live(5, "v1", ("kube-controller-manager", REPLICAS))) == []
    assert told(live(5, "v1", ("kubelet-like", REPLICAS), subresource="status")) == []


@pytest.mark.parametrize(
    ("rule", "silent"),
    [
        (IgnoreRule(kind="Deployment", path="spec.template.spec.containers[name=api].image"), True),
        (IgnoreRule(kind="Deployment", path="spec.template"), True),
        (IgnoreRule(kind="Deployment", name="api", path="spec"), True),
        (IgnoreRule(kind="Deployment", name="other", path="spec"), False),
        (IgnoreRule(kind="Service", path="spec"), False),
        (IgnoreRule(kind="Deployment", path="spec.templ"), False),
    ],
)
def test_a_rule_silences_its_path_and_what_is_below(rule: IgnoreRule, silent: bool) -> None:
    assert (told(live(1, "v2", ("kubectl-edit", IMAGE)), rule) == []) is silent


def test_a_conflict_is_what_we_want_otherwise_than_its_holder() -> None:
    there = live(3, "v1", ("kubectl", REPLICAS), ("kubectl-set", IMAGE))
    assert [(one.path, one.ours, one.theirs) for one in contested(OURS, there)] == [("spec.replicas", 1, 3)]


def test_a_value_of_a_secret_is_never_told() -> None:
    ours = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "b3Vycw=="}}
    held = [{"manager": "kubectl", "fieldsV1": {"f:data": {"f:k": {}}}}]
    there = {**ours, "metadata": {"name": "s", "managedFields": held}, "data": {"k": "dGhlaXJz"}}
    (one,) = contested(ours, there)
    assert (one.ours, one.theirs) == (HIDDEN, HIDDEN)
    assert drift([ours], {ref(ours): there}, ()) == []


def autoscaler(name: str = "api") -> dict[str, Any]:
    return {"spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}}}


def replicas_sent(there: dict[str, Any], *scalers: dict[str, Any], force: bool = False) -> Any:
    return without_foreign_fields(OURS, there, scalers, (), force)["spec"].get("replicas")


def test_the_number_of_replicas_is_left_to_whoever_has_scaled() -> None:
    scaled = live(3, "v1", ("kubectl", REPLICAS))
    assert replicas_sent(scaled) is None
    assert replicas_sent(scaled, force=True) == 1
    assert replicas_sent(scaled, autoscaler(), force=True) is None
    assert OURS["spec"]["replicas"] == 1


def test_an_autoscaler_that_has_not_scaled_yet_gets_the_live_number_and_no_reset() -> None:
    ours_alone = live(4, "v1", ("lightragctl", REPLICAS))
    assert replicas_sent(ours_alone, autoscaler()) == 4
    assert replicas_sent(ours_alone, autoscaler("other")) == 1
    assert replicas_sent(ours_alone) == 1


def test_a_rule_of_the_profile_leaves_a_field_to_others() -> None:
    rule = IgnoreRule(kind="Deployment", path="spec.template.spec.containers[name=api].image")
    sent = without_foreign_fields(OURS, live(1, "v2", ("kubectl-set", IMAGE)), (), [rule], False)
    assert sent["spec"]["template"]["spec"]["containers"] == [{"name": "api", "env": []}]
    sent = without_foreign_fields(OURS, live(1, "v2", ("lightragctl", IMAGE)), (), [rule], False)
    assert sent["spec"]["template"]["spec"]["containers"][0]["image"] == "v2"


SCALER = {
    "kind": "HorizontalPodAutoscaler",
    "apiVersion": "autoscaling/v2",
    "metadata": {"name": "api"},
    "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}, "minReplicas": 2},
}
WAKING = {**SCALER, "metadata": {"name": "api", "ownerReferences": [{"kind": "ScaledObject", "name": "so"}]}}
SLEEPS = IgnoreRule(kind="Deployment", path="spec.replicas")


@pytest.mark.parametrize(
    ("holder", "rules", "scalers", "said", "is_meant"),
    [
        ("kubectl", (), (), "scaled to 0 by kubectl", False),
        ("", (), (), "scaled to 0 by kubectl scale or the like", False),  # the server notes nobody
        ("keda-operator", (), (), "scaled to 0 by keda-operator", True),
        ("kube-downscaler", (), (), "scaled to 0 by kube-downscaler", True),
        ("", (), (WAKING,), "scaled to 0 by ScaledObject/so", True),
        ("kubectl", (), (SCALER,), "scaled to 0 by kubectl", False),  # it leaves alone what has no pods
        ("kubectl", (SLEEPS,), (), "scaled to 0 by kubectl", True),
    ],
)
def test_who_left_a_workload_without_pods(holder: str, rules: Any, scalers: Any, said: str, is_meant: bool) -> None:
    there = live(0, "v1", *(((holder, REPLICAS),) if holder else ()))
    found = scaled_to_zero(OURS, there, ignored(rules, there)(REPLICAS_PATH), scalers)
    assert found is not None
    assert (str(found), found.is_meant) == (said, is_meant)
    assert without_foreign_fields(OURS, there, scalers, rules, False)["spec"].get("replicas", 0) == (
        0 if is_meant else 2 if scalers else 1
    )


def test_a_zero_that_the_profile_wants_is_meant() -> None:
    ours = {**OURS, "spec": {**OURS["spec"], "replicas": 0}}
    assert scaled_to_zero(ours, live(0), False, ()) == scaled_to_zero(ours, live(0), False, [SCALER])
    assert str(scaled_to_zero(ours, live(0), False, ())) == "scaled to 0 by the profile"
    assert scaled_to_zero(OURS, live(1), False, ()) is None


def test_a_zero_by_hand_is_drift_and_no_conflict() -> None:
    assert told(live(0)) == ["spec.replicas 1 0 "]
    assert told(live(0, "v1", ("kubectl", REPLICAS))) == ["spec.replicas 1 0 kubectl"]
    assert contested(OURS, live(0, "v1", ("kubectl", REPLICAS))) == []
    assert contested(OURS, live(3, "v1", ("kubectl", REPLICAS)))


def test_long_values_are_shown_where_they_differ() -> None:
    ours = '{"a": "' + "x" * 200 + '", "slow_s": 30, "rest": "' + "y" * 200 + '"}'
    told = str(ForeignField("ConfigMap/c", "data[s]", "kubectl", "Update", "", ours, ours.replace("30", "31")))
    assert '"slow_s": 30, "rest' in told
    assert '"slow_s": 31, "rest' in told
    assert len(told) < 320
