"""The order in which objects are applied."""

from collections.abc import Sequence
from pathlib import Path

from lightragctl.core import assets
from lightragctl.core.objects import KubernetesObject
from lightragctl.deploy.render import render_plan
from lightragctl.deploy.stages import stages
from lightragctl.kube.labels import ROLE
from lightragctl.kube.objects import WORKLOAD_KINDS as WORKLOADS
from lightragctl.kube.objects import labels_of, spec_of
from lightragctl.release.profiles import load_profile, make_plan


def test_the_namespace_comes_first_and_each_workload_after_what_it_requires() -> None:
    plan = make_plan("dev", load_profile("dev"))
    objects = render_plan(plan, assets.root() / "templates")
    made = stages(objects, {name: one.requires for name, one in plan.components.items()})
    names = [stage.name for stage in made]
    assert names[:3] == ["namespace", "settings and services", "embedder, mock-llm, vector-engine"]
    assert names[3:5] == ["model-gateway", "lightrag-api, lightrag-server"]
    assert sum(len(stage.objects) for stage in made) == len(objects)
    kinds = {thing["kind"] for thing in made[1].objects}
    assert not kinds & set(WORKLOADS)


def test_the_roles_of_a_running_component_are_updated_in_its_order() -> None:
    site = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
    plan = make_plan("rel", load_profile("prod", [site]))
    objects = render_plan(plan, assets.root() / "templates")
    requires = {name: one.requires for name, one in plan.components.items()}

    def roles(order: Sequence[str]) -> list[list[str]]:
        made = stages(objects, requires, {"vector-engine": order})
        found = [[role for thing in stage.objects if (role := role_of(thing))] for stage in made]
        return [sorted(one) for one in found if one]

    order = plan.components["vector-engine"].update_order
    assert roles(order) == [[role] for role in order]
    assert roles(order[::-1]) == [[role] for role in order[::-1]]
    assert roles(()) == [sorted(order)]


def role_of(thing: KubernetesObject) -> str:
    return str(labels_of(spec_of(thing).get("template") or {}).get(ROLE, ""))
