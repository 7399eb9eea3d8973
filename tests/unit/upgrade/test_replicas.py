"""The upgrade of stateless pods on a fake cluster: success, regressions, and every way out."""

from datetime import timedelta

import pytest

from lightragctl.core.errors import LightragctlError, LockedError, RefusedError
from lightragctl.core.objects import ObjectRef
from lightragctl.deploy.rollout_plan import read_inventory
from lightragctl.operations.control import abort, pause, promote, resume
from lightragctl.operations.model import Operation, Phase, StepState, next_command
from lightragctl.vectors.inspect import CollectionState
from tests.fakes.cluster import DiedError
from tests.fakes.release import NAMESPACE, history, rollback, scope, up
from tests.fakes.upgrading import BASE, ID, KIND, TAG, PodCluster, Town, bad_answers

STABLE = ObjectRef("apps/v1", "Deployment", NAMESPACE, "dev-lightrag-api")
CANARY = ObjectRef("apps/v1", "Deployment", NAMESPACE, "dev-lightrag-api-canary")
SCALER = ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", NAMESPACE, "dev-lightrag-api")
SCALED = "components.lightrag-api.autoscale={min: 3, max: 6}"


def image(town: Town, identity: ObjectRef = STABLE) -> str:
    return str(town.cluster.objects[identity]["spec"]["template"]["spec"]["containers"][0]["image"])


def left_over(town: Town) -> list[str]:
    return [str(one) for one in town.cluster.objects if one.name.endswith("-canary")]


def assert_undone(town: Town, record: Operation) -> None:
    assert record.phase is Phase.ABORTED
    assert image(town) == "lightragctl:latest"
    assert not left_over(town)


def test_a_good_version_gets_one_pod_then_more_then_all() -> None:
    town = Town()
    sizes: list[int] = []
    put = town.pause

    def watch(seconds: float) -> None:
        there = town.cluster.objects.get(CANARY)
        if there and (not sizes or sizes[-1] != there["spec"]["replicas"]):
            sizes.append(there["spec"]["replicas"])
        put(seconds)

    town.pause = watch  # type: ignore[method-assign]
    record = town.run()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert sizes == [1, 2]
    assert image(town) == "lightragctl:v2"
    assert not left_over(town)
    assert town.searches == 1
    assert history(town.cluster)[0].description.startswith(f"upgrade {ID}")
    verdicts = record.results["verdicts"]
    assert {one["verdict"] for one in verdicts["1"]["lightrag-api"]} == {"passed"}
    assert record.results["watch"]["components"]["lightrag-api"]["history"]


def test_errors_of_the_canary_roll_it_back_before_the_stable_pods_are_touched() -> None:
    town = Town(canary_errors=0.05)
    record = town.run()
    assert_undone(town, record)
    assert "error rate 5.00 %, stable pods 0.00 %" in record.cause
    assert record.step("promote").state is StepState.PENDING
    assert (town.now.timestamp() - record.created_at.timestamp()) < 120
    assert len(history(town.cluster)) == 1


def test_a_disaster_is_stopped_within_seconds() -> None:
    town = Town(canary_errors=0.9)
    record = town.run()
    assert_undone(town, record)
    assert (town.now.timestamp() - record.created_at.timestamp()) <= 15


def test_wrong_answers_at_good_latency_stop_it() -> None:
    town = Town(answers=bad_answers())
    record = town.run()
    assert_undone(town, record)
    assert "overlap" in record.cause


def test_a_restart_of_the_canary_stops_it() -> None:
    town = Town()
    put = town.pause

    def crash(seconds: float) -> None:
        put(seconds)
        town.cluster.restarts["dev-lightrag-api-canary-0"] = 1 if (town.now.minute or town.now.second > 30) else 0

    town.pause = crash  # type: ignore[method-assign]
    record = town.run()
    assert_undone(town, record)
    assert "restarts" in record.cause


def test_without_traffic_nothing_is_promoted_and_a_user_decides() -> None:
    town = Town(rate=0.0)
    record = town.run()
    assert record.phase is Phase.PAUSED
    assert "not enough data: lightrag-api errors (0 of 300 requests to the canary)" in record.cause
    assert image(town) == "lightragctl:latest"
    assert "operations promote" in str(next_command(record))
    abort(town.place, ID, town.now)
    assert_undone(town, town.drive())


@pytest.mark.slow
def test_after_a_pause_the_observation_goes_on_for_another_length() -> None:
    town = Town(rate=0.0)
    assert town.run().phase is Phase.PAUSED
    town.rate = 100.0
    town.now += timedelta(hours=3)
    resume(town.place, ID, town.now)
    begun = town.now
    record = town.drive()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert timedelta(seconds=75) < town.now - begun < timedelta(seconds=400)
    assert image(town) == "lightragctl:v2"


@pytest.mark.slow
def test_a_promotion_ends_the_observation() -> None:
    town = Town(rate=0.0)
    assert town.run().phase is Phase.PAUSED
    promote(town.place, ID, (KIND,), "ben@laptop", town.now)
    record = town.drive()
    assert (record.phase, record.promoted_by) == (Phase.SUCCEEDED, "ben@laptop")
    assert image(town) == "lightragctl:v2"
    with pytest.raises(RefusedError, match="its phase is succeeded"):
        promote(town.place, ID, (KIND,), "ben@laptop", town.now)


@pytest.mark.slow
def test_gates_of_the_profile_are_asked_too_and_may_compare_with_before() -> None:
    """The fake Prometheus says 7 of the canary and 3 of the stable pods."""
    query = "upgrade.gates.load={query: 'load{pod=~\"$pods\"}', limit: 2, compare: before}"
    place = "upgrade.prometheus=http://prometheus:9090"
    town = Town()
    up(town.cluster, *BASE)
    town.begin(True, TAG, query, place)
    record = town.drive()
    assert_undone(town, record)
    assert "lightrag-api load (load 7.0, before 3.0: above 5.0)" in record.cause

    town = Town()
    up(town.cluster, *BASE)
    town.begin(True, TAG, query.replace("limit: 2", "limit: 5"), place, "upgrade.gates.mean.compare=before")
    record = town.drive()
    assert record.phase is Phase.SUCCEEDED, record.cause
    judged = {one["gate"]: one for one in record.results["verdicts"]["0"]["lightrag-api"]}
    assert (judged["load"]["canary"], judged["load"]["stable"]) == (7.0, 3.0)
    assert judged["mean"]["reason"] == "mean latency 10.0 ms, before 10.0 ms"


@pytest.mark.parametrize(("missing", "phase"), [("pass", Phase.SUCCEEDED), ("fail", Phase.ABORTED)])
def test_missing_data_mean_what_the_profile_says(missing: str, phase: Phase) -> None:
    town = Town(rate=0.0)
    up(town.cluster, *BASE)
    gates = ("errors", "refused", "slow", "mean", "mean-absolute", "shed", "queue")
    town.begin(True, TAG, *(f"upgrade.gates.{one}.missing={missing}" for one in gates))
    record = town.drive()
    assert record.phase is phase, record.cause
    assert ("no data, which fails" in record.cause) == (missing == "fail")


def test_a_running_observation_is_ended_by_a_promotion() -> None:
    town = Town()
    up(town.cluster, *BASE)
    town.begin()
    put = town.pause

    def decide(seconds: float) -> None:
        put(seconds)
        if town.cluster.objects.get(CANARY) and not town.place.store.read(ID).promoted_by:
            promote(town.place, ID, (KIND,), "ben@laptop", town.now)

    town.pause = decide  # type: ignore[method-assign]
    record = town.drive()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert town.now - record.created_at < timedelta(seconds=60)


def test_without_a_canary_the_same_checks_lead_to_a_rolling_upgrade() -> None:
    town = Town(rate=0.0)
    record = town.run(canary=False)
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert image(town) == "lightragctl:v2"
    assert town.searches == 1
    assert not [one for one in town.cluster.writes if "canary" in one]


def test_a_search_that_fails_after_the_promotion_leads_back_to_the_old_version() -> None:
    town = Town()

    def fail(timeout_s: float, notify: object) -> None:
        raise LightragctlError("no answer")

    town.prove = fail  # type: ignore[method-assign, assignment]
    record = town.run()
    assert_undone(town, record)
    inventory = read_inventory(scope(town.cluster))
    assert inventory is not None
    assert not inventory.overrides


def test_the_autoscaler_does_not_scale_down_meanwhile_and_is_given_back() -> None:
    town = Town()
    up(town.cluster, *BASE, SCALED, "components.lightrag-api.replicas=null")
    before = town.cluster.objects[SCALER]["spec"]["behavior"]["scaleDown"]["selectPolicy"]
    town.begin(True, TAG, SCALED, "components.lightrag-api.replicas=null")
    seen = set()
    put = town.pause

    def watch(seconds: float) -> None:
        seen.add(town.cluster.objects[SCALER]["spec"]["behavior"]["scaleDown"]["selectPolicy"])
        put(seconds)

    town.pause = watch  # type: ignore[method-assign]
    town.cluster.edit(STABLE, "kube-controller-manager", ("spec", "replicas"), 4)
    record = town.drive()
    assert record.phase is Phase.SUCCEEDED, record.cause
    assert "Disabled" in seen
    assert town.cluster.objects[SCALER]["spec"]["behavior"]["scaleDown"]["selectPolicy"] == before
    assert town.cluster.objects[STABLE]["spec"]["replicas"] == 4


def test_an_unready_release_is_not_upgraded() -> None:
    town = Town()
    up(town.cluster, *BASE)
    town.cluster.objects[STABLE]["status"]["readyReplicas"] = 1
    town.cluster.objects[STABLE]["status"]["availableReplicas"] = 1
    town.begin()
    record = town.drive()
    assert record.phase is Phase.ABORTED
    assert "not ready: lightrag-api" in record.cause


def state(load: str, pending: int) -> CollectionState:
    return CollectionState(384, load, (), "HNSW", "COSINE", True, 100, pending, None)


@pytest.mark.parametrize(
    ("found", "said"),
    [(state("Loading", 0), "not loaded yet: passages"), (state("Loaded", 7), "not built any further: passages")],
    ids=["loading", "stuck"],
)
def test_a_store_that_is_not_ready_is_not_upgraded_over(found: CollectionState, said: str) -> None:
    record = Town(collections={"passages": found, "idle": state("NotLoad", 9)}).run()
    assert record.phase is Phase.ABORTED
    assert said in record.cause


def test_an_index_that_is_being_built_is_waited_for() -> None:
    town = Town(collections={"passages": state("Loaded", 40)})
    put = town.pause

    def build(seconds: float) -> None:
        put(seconds)
        town.collections = {"passages": state("Loaded", max(0, (town.collections["passages"].pending_rows or 0) - 15))}

    town.pause = build  # type: ignore[method-assign]
    assert town.run().phase is Phase.SUCCEEDED


def test_drift_is_not_upgraded_over() -> None:
    town = Town()
    up(town.cluster, *BASE)
    town.cluster.edit(STABLE, "kubectl", ("spec", "template", "spec", "terminationGracePeriodSeconds"), 1)
    town.begin()
    assert "the release has drifted" in town.drive().cause


def test_up_is_refused_meanwhile_and_a_pause_gives_the_autoscaler_back() -> None:
    town = Town()
    up(town.cluster, *BASE)
    town.begin()
    put = town.pause
    asked = []

    def stop(seconds: float) -> None:
        put(seconds)
        if not asked and town.cluster.objects.get(CANARY):
            asked.append(True)
            with pytest.raises(LockedError, match=ID):
                up(town.cluster, *BASE)
            pause(town.place, ID)

    town.pause = stop  # type: ignore[method-assign]
    assert town.drive().phase is Phase.PAUSED
    assert left_over(town)
    resume(town.place, ID, town.now)
    assert town.drive().phase is Phase.SUCCEEDED


def test_an_abort_deletes_the_canary() -> None:
    town = Town()
    up(town.cluster, *BASE)
    town.begin()
    put = town.pause

    def stop(seconds: float) -> None:
        put(seconds)
        if town.cluster.objects.get(CANARY) and town.place.store.read(ID).phase is Phase.RUNNING:
            abort(town.place, ID, town.now)

    town.pause = stop  # type: ignore[method-assign]
    assert_undone(town, town.drive())


def test_up_does_not_undo_the_upgrade_unnoticed() -> None:
    town = Town()
    assert town.run().phase is Phase.SUCCEEDED
    with pytest.raises(RefusedError, match="would undo the upgrade that set") as refused:
        up(town.cluster, *BASE)
    assert "components.lightrag-api.tag: v2" in refused.value.hint
    up(town.cluster, *BASE, "components.lightrag-api.tag=v3")
    assert image(town) == "lightragctl:v3"
    up(town.cluster, *BASE)
    assert image(town) == "lightragctl:latest"


def test_the_upgrade_in_the_profile_settles_it_and_rollback_leads_back() -> None:
    town = Town()
    assert town.run().phase is Phase.SUCCEEDED
    assert up(town.cluster, *BASE, TAG) == ()
    rollback(town.cluster)
    assert image(town) == "lightragctl:latest"
    up(town.cluster, *BASE)


@pytest.mark.parametrize("errors", [pytest.param(0.0, marks=pytest.mark.slow), 0.9], ids=["good", "bad"])
def test_a_driver_that_dies_at_any_write_is_followed_to_one_end(errors: float) -> None:
    whole = Town(canary_errors=errors)
    end = whole.run()
    first = Town()
    up(first.cluster, *BASE)
    begun = len(first.cluster.writes)
    for number in range(begun + 3, len(whole.cluster.writes), max(7, len(whole.cluster.writes) // 6)):
        town = Town(PodCluster(number), canary_errors=errors)
        with pytest.raises(DiedError):
            town.run()
        town.cluster.revive()
        if not town.place.store.records():
            continue
        record = town.drive()
        assert record.phase is end.phase, f"death at write {number}: {record.cause}"
        assert not left_over(town)
        assert image(town) == image(whole)
