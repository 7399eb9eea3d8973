"""The order in which objects are applied."""

from lightragctl.core import assets
from lightragctl.deploy.render import render_plan
from lightragctl.deploy.stages import stages
from lightragctl.kube.objects import WORKLOAD_KINDS as WORKLOADS
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
