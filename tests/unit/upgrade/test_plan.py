"""What an upgrade would do to each component, and what it refuses."""

from dataclasses import replace

import pytest

from lightragctl.core.errors import RefusedError, UsageError
from lightragctl.core.versions import HopKind
from lightragctl.upgrade.canary import canary_objects
from lightragctl.upgrade.plan import (
    ComponentPlan,
    Strategy,
    Traffic,
    UpgradePlan,
    canary_stages,
    override,
    refuse,
    stage_seconds,
)
from lightragctl.upgrade.read_plan import read_plan
from tests.fakes.release import plan, target, up
from tests.fakes.upgrading import BASE, TAG, Town

MILVUS = "components.vector-engine.image.tag"


def planned(*assignments: str, base: tuple[str, ...] = BASE, canary: bool = True) -> UpgradePlan:
    town = Town()
    up(town.cluster, *base)
    return read_plan(town.site, target(*base, *assignments), (600.0, canary), town.pause)


def only(found: UpgradePlan) -> ComponentPlan:
    (one,) = found.components
    return one


def test_a_service_gets_a_canary_and_the_plan_says_what_its_traffic_reveals() -> None:
    one = only(planned(TAG))
    assert (one.strategy, one.kind, one.pods) == (Strategy.REPLICAS, HopKind.ROLLING, 3)
    assert one.images == (("lightragctl:latest", "lightragctl:v2"),)
    assert (one.stages, one.shares) == ((1, 2), (0.25, 0.4))
    assert one.requests_per_s == pytest.approx(300)
    errors = next(effect for effect in one.effects if effect.gate == "errors")
    assert errors.limit == 0.005
    assert errors.detectable is not None
    assert 0.005 < errors.detectable < 0.01
    assert one.steps[-1] == "verify by a search"


def test_without_traffic_no_effect_can_be_detected() -> None:
    town = Town(rate=0.0)
    up(town.cluster, *BASE)
    one = only(read_plan(town.site, target(*BASE, TAG), (600.0, True), town.pause))
    assert [effect.detectable for effect in one.effects] == [None, None]


def test_settings_alone_are_an_upgrade_too_and_nothing_is_none() -> None:
    found = planned("components.lightrag-api.limits.body_bytes=2000000")
    assert only(found).images == ()
    assert planned().components == ()


def test_milvus_gets_a_shadow_and_the_plan_says_what_is_compared_and_how_it_is_undone() -> None:
    one = only(planned(f"{MILVUS}=v2.3.7"))
    assert (one.strategy, one.kind, one.refusal) == (Strategy.SHADOW, HopKind.ROLLING, "")
    assert one.steps[1] == "start the new version beside it with storage of its own"
    assert one.compared.startswith("no traffic; 100 stored vectors")
    (effect,) = one.effects
    assert (effect.gate, effect.limit) == ("overlap", 0.1)
    assert one.outage
    assert not one.point_of_no_return
    assert only(planned(f"{MILVUS}=v2.3.7", canary=False)).compared.endswith("before and after")


def test_a_change_that_the_image_cannot_undo_is_backed_up_and_says_where() -> None:
    one = only(planned(f"{MILVUS}=v2.4.1"))
    assert (one.kind, one.point_of_no_return) == (HopKind.ONE_WAY, "replace")
    assert "back up the workspace" in one.steps[1]


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("v2.5.4", "upgrade in steps: 2.4.0 -> 2.5.4"),
        ("v2.2.16", "the older version may not read"),
        ("vlatest", "cannot be compared"),
    ],
)
def test_an_unknown_or_unsafe_change_of_versions_is_refused_with_the_safe_path(tag: str, reason: str) -> None:
    found = planned(f"{MILVUS}={tag}")
    assert only(found).kind is HopKind.REFUSED
    assert reason in only(found).refusal
    with pytest.raises(RefusedError) as refused:
        refuse(found)
    assert "upgrade matrix" in refused.value.hint


def test_the_image_option_is_a_key_of_the_profile() -> None:
    release = plan()
    assert override(release, "lightrag-api=v2") == TAG
    assert override(release, "vector-engine=v2.3.7") == f"{MILVUS}=v2.3.7"
    for wrong in ("lightrag-api", "nope=v1", "lightrag-api="):
        with pytest.raises(UsageError, match="COMPONENT=TAG"):
            override(release, wrong)


def test_stages_are_a_pod_a_quarter_and_a_half() -> None:
    assert [canary_stages(pods) for pods in (0, 1, 2, 4, 10)] == [(1,), (1,), (1,), (1, 2), (1, 3, 5)]
    assert stage_seconds(3, 1800.0) == (900.0, 450.0, 450.0)
    assert stage_seconds(1, 60.0) == (60.0,)


def test_a_canary_is_selected_by_the_service_and_by_no_object_of_the_release() -> None:
    objects = target(*BASE, TAG).objects
    settings, deployment = canary_objects(objects, "lightrag-api", 1, "upgrade-1")
    assert (settings["kind"], deployment["kind"]) == ("ConfigMap", "Deployment")
    named = {one["kind"]: one for one in objects if one["metadata"]["name"] == "dev-lightrag-api"}
    stable, service = named["Deployment"], named["Service"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == {**stable["spec"]["template"]["metadata"]["labels"], "track": "canary"}
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["selector"]["matchLabels"]["track"] == "canary"
    assert "app.kubernetes.io/managed-by" not in deployment["metadata"]["labels"]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {"name": settings["metadata"]["name"]} in [one.get("configMap") for one in volumes]
    assert "track: stable" not in str(deployment).replace("'", "")


def test_a_plan_is_refused_when_one_of_its_components_is() -> None:
    good = only(planned(TAG))
    refuse(UpgradePlan((good,)))
    with pytest.raises(RefusedError, match="lightrag-api: no"):
        refuse(UpgradePlan((replace(good, refusal="no"),)))


def test_traffic_that_cannot_be_read_is_unknown() -> None:
    assert Traffic().requests_per_s is None
