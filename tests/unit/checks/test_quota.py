"""Room in a namespace's quotas."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightragctl.checks.quota import exceeded_quotas, object_counts, requested, usage


def workload(kind: str = "Deployment", replicas: int = 2, storage: str = "") -> dict[str, Any]:
    resources = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}}
    spec: dict[str, Any] = {
        "replicas": replicas,
        "template": {"spec": {"containers": [{"name": "one", "resources": resources}]}},
    }
    if storage:
        spec["volumeClaimTemplates"] = [{"spec": {"resources": {"requests": {"storage": storage}}}}]
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "w"}, "spec": spec}


def quota(used: dict[str, str], **hard: str) -> dict[str, Any]:
    limits = {name.replace("_", "."): value for name, value in hard.items()}
    return {"kind": "ResourceQuota", "metadata": {"name": "q"}, "status": {"hard": limits, "used": used}}


def exceeded(quotas: Sequence[dict[str, Any]], wanted: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    return [str(one) for one in exceeded_quotas(quotas, wanted, present)]


def test_demand_counts_every_replica_and_claim() -> None:
    total = requested([workload(), workload("StatefulSet", 1, "20Gi"), {"kind": "Service"}])
    assert total["pods"] == 3
    assert float(total["requests.cpu"]) == 1.5
    assert total["limits.memory"] == 6 * 2**30
    assert total["persistentvolumeclaims"] == 1
    assert total["requests.storage"] == 20 * 2**30


def test_a_quota_with_room_is_silent() -> None:
    room = quota({"requests.cpu": "1"}, requests_cpu="2", pods="10")
    assert exceeded([room], requested([workload()]), {}) == []


def test_a_full_quota_is_named_with_its_numbers() -> None:
    full = quota({"requests.cpu": "1500m"}, requests_cpu="2")
    found = exceeded([full], requested([workload()]), {})
    assert found == ["ResourceQuota/q: requests.cpu: 1.5 used + 1 more > 2"]


def test_what_the_release_uses_already_is_not_counted_twice() -> None:
    full = quota({"requests.cpu": "1", "pods": "2"}, requests_cpu="1", pods="2")
    assert exceeded([full], requested([workload()]), requested([workload()])) == []


def test_old_names_of_resources_are_understood() -> None:
    full = quota({}, cpu="500m", memory="1Gi")
    assert len(exceeded([full], requested([workload()]), {})) == 2


def test_a_quota_that_was_never_counted_is_judged_by_its_spec() -> None:
    new = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    assert exceeded([new], requested([workload()]), {}) == ["ResourceQuota/q: pods: 0 used + 2 more > 1"]


def claim(name: str, size: str) -> dict[str, Any]:
    spec = {"resources": {"requests": {"storage": size}}, "storageClassName": "fast"}
    return {"kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def test_a_claim_that_is_there_counts_once_whatever_runs() -> None:
    full = quota({"requests.storage": "20Gi", "persistentvolumeclaims": "1"}, requests_storage="20Gi")
    full["status"]["hard"]["persistentvolumeclaims"] = "1"
    wanted = requested([workload("StatefulSet", 1, "20Gi")])
    assert exceeded([full], wanted, usage([], [claim("c", "20Gi")])) == []
    assert exceeded([full], wanted, usage([], [])) == [
        "ResourceQuota/q: requests.storage: 20Gi used + 20Gi more > 20Gi",
        "ResourceQuota/q: persistentvolumeclaims: 1 used + 1 more > 1",
    ]
    bigger = requested([workload("StatefulSet", 1, "30Gi")])
    (text,) = exceeded([full], bigger, usage([], [claim("c", "20Gi")]))
    assert text.endswith("20Gi used + 10Gi more > 20Gi")


def test_pods_that_are_there_count_once_and_those_that_ended_not_at_all() -> None:
    spec = workload()["spec"]["template"]["spec"]
    pods = [{"spec": spec, "status": {"phase": phase}} for phase in ("Running", "Pending", "Failed")]
    full = quota({"pods": "2", "requests.cpu": "1"}, pods="2", requests_cpu="1")
    assert exceeded([full], requested([workload()]), usage(pods, [])) == []


def test_objects_count_and_those_that_are_there_do_not() -> None:
    things: list[dict[str, Any]] = [{"kind": kind} for kind in ("ConfigMap", "Secret", "Service")]
    full = quota(dict.fromkeys(("configmaps", "secrets", "services"), "1"), configmaps="1", secrets="1", services="1")
    assert len(exceeded([full], object_counts(things), {})) == 3
    assert exceeded([full], object_counts(things), object_counts(things)) == []
    port = {"kind": "Service", "spec": {"type": "NodePort", "ports": [{}]}}
    assert object_counts([port])["services.nodeports"] == 1


def test_a_quota_of_some_pods_only_is_the_cluster_s_to_judge() -> None:
    one = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}, "scopes": ["BestEffort"]}}
    assert exceeded([one], requested([workload()]), {}) == []
