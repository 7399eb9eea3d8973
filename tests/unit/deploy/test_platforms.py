"""What real platforms ask of the manifests: ids that the cluster assigns, proxies with bounds, full nodes."""

from pathlib import Path
from typing import Any

import pytest

from lightragctl.core import assets
from lightragctl.deploy.render import render_plan
from lightragctl.release.profiles import load_profile, make_plan

SITE = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
NGINX = "nginx.ingress.kubernetes.io"
EXPOSE = "components.lightrag-api.expose"


def rendered(*sets: str, profile: str = "prod") -> dict[tuple[str, str], dict[str, Any]]:
    planned = make_plan("rel", load_profile(profile, [SITE], sets))
    objects = render_plan(planned, assets.root() / "templates")
    return {(one["kind"], one["metadata"]["name"]): dict(one) for one in objects}


def pods(objects: dict[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["spec"]["template"]["spec"] for one in objects.values() if "template" in one.get("spec", {})]


def test_where_the_cluster_assigns_ids_no_pod_asks_for_one() -> None:
    contexts = [pod["securityContext"] for pod in pods(rendered("run_as=null"))]
    assert contexts
    for context in contexts:
        assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_ids_are_the_profiles() -> None:
    for pod in pods(rendered("run_as={user: 2000, group: 2001, fs_group: 2002}")):
        context = pod["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (2000, 2001, 2002)


def ingress(*sets: str) -> dict[str, str]:
    annotations: dict[str, str] = rendered(*sets)["Ingress", "rel-lightrag-api"]["metadata"].get("annotations", {})
    return annotations


def test_nginx_takes_bodies_and_answers_as_long_as_the_service_does() -> None:
    found = ingress()
    assert found[f"{NGINX}/proxy-body-size"] == str(32 * 1024 * 1024)
    assert found[f"{NGINX}/proxy-read-timeout"] == "125"
    larger = ingress(
        "components.lightrag-api.limits.body_bytes=67108864", "components.lightrag-api.deadlines.chat_s=300"
    )
    assert (larger[f"{NGINX}/proxy-body-size"], larger[f"{NGINX}/proxy-read-timeout"]) == ("67108864", "305")


def test_annotations_of_the_profile_come_last_and_other_classes_get_no_others() -> None:
    ours = f"{EXPOSE}.annotations={{{NGINX}/proxy-body-size: 8m, cert-manager.io/cluster-issuer: le}}"
    found = ingress(ours)
    assert found[f"{NGINX}/proxy-body-size"] == "8m"
    assert found["cert-manager.io/cluster-issuer"] == "le"
    assert ingress(f"{EXPOSE}.class_name=alb") == {}


@pytest.mark.parametrize(
    ("replicas", "strategy"),
    [(1, {"type": "Recreate"}), (2, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})],
)
def test_coordinators_roll_where_each_node_holds_one_already(replicas: int, strategy: dict[str, Any]) -> None:
    objects = rendered(f"components.vector-engine.roles.coordinator.replicas={replicas}")
    assert objects["Deployment", "rel-vector-engine-coordinator"]["spec"]["strategy"] == strategy
