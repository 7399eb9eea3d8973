"""Rendering: the same objects for the same profile, and none that a cluster would refuse or that would bite later."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightragctl.checks.quota import requested
from lightragctl.core import assets
from lightragctl.core.errors import LightragctlError, ProfileError, RefusedError
from lightragctl.core.objects import KubernetesObject, order, ref
from lightragctl.core.quantity import quantity
from lightragctl.deploy.render import render_plan, write_objects
from lightragctl.release.profiles import load_profile, make_plan

TEMPLATES = assets.root() / "templates"
SERVICES = ["embedder", "lightrag-api", "lightrag-server", "mock-llm", "model-gateway", "vector-engine"]


def render(*sets: str, profile: str = "dev", release: str = "rel") -> list[KubernetesObject]:
    loaded = load_profile(profile, assignments=sets)
    return render_plan(make_plan(release, loaded), TEMPLATES)


def of_kind(*kinds: str, sets: tuple[str, ...] = ()) -> list[Any]:
    return [thing for thing in render(*sets) if thing["kind"] in kinds]


def named(name: str, *sets: str) -> Any:
    return next(thing for thing in of_kind("StatefulSet", sets=sets) if ref(thing).name == f"rel-{name}")


def engine(*sets: str) -> Any:
    return named("vector-engine", *sets)


def walk(value: Any) -> Iterator[Any]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from walk(one)


def test_rendering_twice_gives_the_same_text() -> None:
    assert yaml.safe_dump_all(render()) == yaml.safe_dump_all(render())


def test_objects_are_sorted_and_what_is_needed_first_comes_first() -> None:
    objects = render()
    assert objects == sorted(objects, key=order)
    kinds = list(dict.fromkeys(thing["kind"] for thing in objects))
    first = ["Namespace", "ResourceQuota", "LimitRange", "ServiceAccount", "Secret", "ConfigMap"]
    assert kinds == [*first, "Service", "StatefulSet", "Deployment"]


def test_every_component_has_a_service_and_a_workload() -> None:
    names = [f"rel-{name}" for name in SERVICES]
    assert sorted(ref(thing).name for thing in of_kind("Service")) == names
    assert sorted(ref(thing).name for thing in of_kind("Deployment", "StatefulSet")) == names


def test_every_object_lies_in_the_profiles_namespace() -> None:
    objects = render("namespace=elsewhere")
    assert {ref(thing).namespace for thing in objects if thing["kind"] != "Namespace"} == {"elsewhere"}
    assert [ref(thing).name for thing in objects if thing["kind"] == "Namespace"] == ["elsewhere"]


def test_a_selector_and_a_volume_claim_hold_no_version() -> None:
    labels = [thing["spec"]["selector"] for thing in of_kind("Service")]
    labels += [thing["spec"]["selector"]["matchLabels"] for thing in of_kind("Deployment", "StatefulSet")]
    for thing in of_kind("StatefulSet"):
        labels += [claim["metadata"]["labels"] for claim in thing["spec"]["volumeClaimTemplates"]]
    assert len(labels) == 14
    for one in labels:
        assert not [key for key in one if "version" in key or "chart" in key or "managed-by" in key]
        assert not {"latest", "v2.3.5"} & set(one.values())


def test_another_image_changes_no_selector_and_no_volume_claim() -> None:
    def fixed(things: list[Any]) -> list[Any]:
        specs = [thing["spec"] for thing in things]
        return [(spec["selector"], spec.get("volumeClaimTemplates")) for spec in specs]

    newer = ("image.tag=v9", "components.vector-engine.image.tag=v2.3.6")
    assert fixed(of_kind("Deployment", "StatefulSet", "Service")) == fixed(
        of_kind("Deployment", "StatefulSet", "Service", sets=newer)
    )


def test_a_workload_selects_its_own_pods_on_the_stable_track() -> None:
    for thing in of_kind("Deployment", "StatefulSet"):
        selector = thing["spec"]["selector"]["matchLabels"]
        assert selector["track"] == "stable"
        assert selector.items() <= thing["spec"]["template"]["metadata"]["labels"].items()


def test_a_service_reaches_the_pods_of_its_workload_by_a_port_that_they_name() -> None:
    pods = {ref(thing).name: thing["spec"]["template"] for thing in of_kind("Deployment", "StatefulSet")}
    for service in of_kind("Service"):
        pod = pods[ref(service).name]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        named = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert named[port["targetPort"]] == port["port"]


def test_a_deployments_settings_are_mounted_and_a_change_of_them_rolls_the_pods() -> None:
    maps = {ref(thing).name for thing in of_kind("ConfigMap")}
    for thing in of_kind("Deployment"):
        assert thing["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] in maps

    def rolled(*sets: str) -> dict[str, str]:
        return {
            ref(thing).name: thing["spec"]["template"]["metadata"]["annotations"]["lightragctl/settings-sha256"]
            for thing in of_kind("Deployment", sets=sets)
        }

    before, after = rolled(), rolled("components.mock-llm.latency_ms=5")
    assert [name for name in before if before[name] != after[name]] == ["rel-mock-llm"]


def test_milvus_is_not_killed_for_what_healthz_says() -> None:
    container = engine()["spec"]["template"]["spec"]["containers"][0]
    for probe in ("livenessProbe", "startupProbe"):
        assert "httpGet" not in container[probe]
        assert container[probe]["tcpSocket"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/healthz"


def test_milvus_has_a_volume_of_the_size_and_class_that_the_profile_says() -> None:
    claim = engine("components.vector-engine.storage=5Gi")["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["resources"]["requests"]["storage"] == "5Gi"
    assert "storageClassName" not in claim
    claim = engine("components.vector-engine.storage_class=fast")["spec"]["volumeClaimTemplates"][0]["spec"]
    assert claim["storageClassName"] == "fast"


def test_every_container_has_requests_limits_and_probes() -> None:
    for thing in of_kind("Deployment", "StatefulSet"):
        for container in thing["spec"]["template"]["spec"]["containers"]:
            assert {"cpu", "memory"} == set(container["resources"]["requests"]) == set(container["resources"]["limits"])
            assert container["readinessProbe"]
            assert container["livenessProbe"]


def test_several_milvus_replicas_are_refused_with_the_remedy() -> None:
    with pytest.raises(ProfileError, match=r"--set: components\.vector-engine.*keep replicas: 1"):
        render("components.vector-engine.replicas=3")


def test_a_milvus_tag_without_v_is_refused_with_the_right_one() -> None:
    with pytest.raises(ProfileError, match=r"--set: components\.vector-engine\.image\.tag: .*write v2\.3\.5"):
        render("components.vector-engine.image.tag=2.3.5")


def test_milvus_lite_is_refused_on_kubernetes_with_the_remedy() -> None:
    with pytest.raises(ProfileError, match="vector-engine: lite is for the local runtime only") as caught:
        render("components.vector-engine.topology=lite")
    assert "components.vector-engine.topology=standalone" in caught.value.hint


def test_a_standalone_milvus_is_refused_on_this_machine_with_the_remedy() -> None:
    with pytest.raises(ProfileError, match="vector-engine: standalone is for Kubernetes only") as caught:
        render("components.vector-engine.topology=standalone", profile="local")
    assert "components.vector-engine.topology=lite" in caught.value.hint


def test_a_local_profile_has_no_manifests() -> None:
    with pytest.raises(RefusedError, match="local processes") as caught:
        render(profile="local")
    assert "--profile dev" in caught.value.hint


def test_a_disabled_component_is_not_rendered() -> None:
    sets = ("components.mock-llm.enabled=false", "models.chat.url=http://llm.example")
    assert not [ref(thing) for thing in render(*sets) if "mock-llm" in ref(thing).name]


def test_a_key_in_a_secret_is_rendered_as_a_reference_alone() -> None:
    objects = render("models.chat.url=https://llm.example", "models.chat.api_key.secret={name: llm, key: token}")
    gateway = next(
        thing for thing in objects if ref(thing).name == "rel-model-gateway" and thing["kind"] == "Deployment"
    )
    assert gateway["spec"]["template"]["spec"]["containers"][0]["env"] == [
        {
            "name": "LIGHTRAGCTL_CHAT_API_KEY",
            "valueFrom": {"secretKeyRef": {"name": "llm", "key": "token"}},
        }
    ]
    config_references = [
        value["secretKeyRef"] for value in walk(objects) if isinstance(value, dict) and "secretKeyRef" in value
    ]
    own = {"name": "rel-lightrag-server-keys", "key": "api-keys"}
    assert [one for one in config_references if one != own] == [{"name": "llm", "key": "token"}]
    assert not [thing for thing in objects if thing["kind"] == "Secret" and "data" in thing]
    settings = next(thing for thing in objects if ref(thing).name == "rel-model-gateway-settings")["data"]
    assert '"env": "LIGHTRAGCTL_CHAT_API_KEY"' in settings["settings.json"]


def test_text_in_chinese_and_in_yaml_characters_comes_through() -> None:
    settings = next(
        thing
        for thing in render('models.embedding.query_prefix="查询: {#\'"')
        if ref(thing).name == "rel-lightrag-api-settings"
    )
    assert "查询: {#'" in settings["data"]["settings.json"]


def test_a_template_that_asks_for_what_is_not_there_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "vector-engine"
    folder.mkdir()
    (folder / "broken.yaml.j2").write_text("kind: {{ nothing }}\n", encoding="utf-8")
    plan = make_plan("rel", load_profile("dev"))
    with pytest.raises(LightragctlError, match=r"vector-engine/broken\.yaml\.j2"):
        render_plan(plan, tmp_path)


def test_an_object_that_is_rendered_twice_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "vector-engine"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.yaml.j2").write_text(
            "{apiVersion: v1, kind: Service, metadata: {name: x}}", encoding="utf-8"
        )
    plan = make_plan("rel", load_profile("dev"))
    with pytest.raises(LightragctlError, match="Service/x is rendered twice"):
        render_plan(plan, tmp_path)


def test_objects_are_written_one_to_a_file_in_the_order_to_apply(tmp_path: Path) -> None:
    objects = render()
    paths = write_objects(objects, tmp_path / "out")
    assert [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(paths)] == objects


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("x", encoding="utf-8")
    with pytest.raises(RefusedError, match="is not empty"):
        write_objects(render(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]


def test_a_generated_key_is_asked_for_and_never_rendered() -> None:
    for secret in of_kind("Secret"):
        assert secret["metadata"]["annotations"] == {"lightragctl/generate": "api-keys"}
        assert not {"data", "stringData"} & set(secret)
    assert secrets() == ["rel-lightrag-api-keys", "rel-lightrag-server-keys"]
    assert secrets("components.lightrag-api.api_key=none") == ["rel-lightrag-server-keys"]


def secrets(*sets: str) -> list[str]:
    return sorted(ref(thing).name for thing in of_kind("Secret", sets=sets))


def test_a_key_of_somebody_elses_secret_is_mounted() -> None:
    own = "components.lightrag-api.api_key={secret: {name: ours, key: k}}"
    assert secrets(own) == ["rel-lightrag-server-keys"]
    (api,) = [one for one in of_kind("Deployment", sets=(own,)) if one["metadata"]["name"] == "rel-lightrag-api"]
    volumes = {one["name"]: one for one in api["spec"]["template"]["spec"]["volumes"]}
    assert volumes["keys"]["secret"] == {"secretName": "ours", "items": [{"key": "k", "path": "api-keys"}]}


def server(*sets: str) -> Any:
    return named("lightrag-server", *sets)["spec"]["template"]["spec"]


def test_a_second_lightrag_server_is_refused_with_the_reason() -> None:
    with pytest.raises(ProfileError, match="one active instance for each workspace"):
        render("components.lightrag-server.replicas=2")


def test_lightrag_server_is_ready_by_a_query_and_lives_by_health() -> None:
    container = server()["containers"][0]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ready"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 3600


def test_lightrag_server_is_no_root_and_its_volume_hides_nothing_of_the_image() -> None:
    assert server()["securityContext"]["runAsUser"] == server()["securityContext"]["fsGroup"] == 1000
    container = server()["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert mounts == {"settings": "/etc/lightragctl", "scratch": "/tmp", "data": "/var/lib/lightrag"}


def test_lightrag_server_knows_no_flat_index() -> None:
    with pytest.raises(ProfileError, match="does not support index type FLAT"):
        render("index.type=FLAT")


def test_without_lightrag_server_lightrag_api_has_nobody_to_ask_in_graph_modes() -> None:
    without = render("components.lightrag-server.enabled=false")
    assert not [thing for thing in without if "lightrag-server" in ref(thing).name]
    settings = next(thing for thing in without if ref(thing).name == "rel-lightrag-api-settings")
    assert '"lightrag": null' in settings["data"]["settings.json"]


EXPOSE = "components.lightrag-api.expose="


def api_service(*sets: str) -> Any:
    return next(one for one in of_kind("Service", sets=sets) if ref(one).name == "rel-lightrag-api")["spec"]


def test_the_api_is_on_a_port_of_every_node_that_the_cluster_or_the_profile_chooses() -> None:
    assert api_service()["type"] == "NodePort"
    assert "nodePort" not in api_service()["ports"][0]
    assert api_service(EXPOSE + "{type: NodePort, node_port: 30080}")["ports"][0]["nodePort"] == 30080
    assert api_service("components.lightrag-api.expose.type=ClusterIP")["type"] == "ClusterIP"
    assert of_kind("Ingress") == []


def test_an_ingress_leads_to_the_apis_service() -> None:
    sets = (EXPOSE + "{type: Ingress, host: rag.example, class_name: nginx, tls_secret: cert}",)
    (ingress,) = of_kind("Ingress", sets=sets)
    assert ingress["apiVersion"] == "networking.k8s.io/v1"
    spec = ingress["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == [{"hosts": ["rag.example"], "secretName": "cert"}]
    (rule,) = spec["rules"]
    assert rule["host"] == "rag.example"
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "rel-lightrag-api", "port": {"name": "http"}}
    assert api_service(*sets)["type"] == "ClusterIP"
    assert backend["port"]["name"] in {port["name"] for port in api_service(*sets)["ports"]}


def test_an_ingress_of_a_host_alone_takes_the_clusters_class_and_no_certificate() -> None:
    (ingress,) = of_kind("Ingress", sets=(EXPOSE + "{type: Ingress, host: rag.example}",))
    assert set(ingress["spec"]) == {"rules"}


@pytest.mark.parametrize(
    ("expose", "says"),
    [("{type: Ingress}", "requires host"), ("{type: ClusterIP, node_port: 30080}", "node_port requires type NodePort")],
)
def test_an_exposure_that_does_not_fit_is_refused_by_its_key(expose: str, says: str) -> None:
    with pytest.raises(ProfileError, match=rf"components\.lightrag-api\.expose: .*{says}"):
        render(EXPOSE + expose)


def test_the_quota_of_dev_has_room_to_roll_every_component_and_for_one_more_replica() -> None:
    (quota,) = of_kind("ResourceQuota")
    deployments = of_kind("Deployment")
    asked, rolling = requested([*deployments, *of_kind("StatefulSet")]), requested(deployments)
    hard = quota["spec"]["hard"]
    assert set(asked) == set(hard)
    for name, bound in hard.items():
        one_more = max(requested([one])[name] for one in deployments)
        assert asked[name] + rolling[name] + one_more <= quantity(bound), name


def test_quota_and_limit_range_may_be_left_out() -> None:
    assert of_kind("ResourceQuota", sets=("quota=null",)) == []
    assert of_kind("LimitRange", sets=("limit_range=null",)) == []
    (quota,) = of_kind("ResourceQuota", sets=("quota=null", "quota={pods: 9}"))
    assert quota["spec"]["hard"] == {"pods": "9"}


def test_a_rollout_may_take_longer_than_its_pods_need_to_start() -> None:
    for thing in of_kind("Deployment"):
        startup = thing["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
        assert thing["spec"]["progressDeadlineSeconds"] > startup["failureThreshold"] * startup["periodSeconds"]


def test_pods_prefer_other_zones_and_nodes_and_another_replica_changes_nothing_else() -> None:
    def pods(*sets: str) -> list[Any]:
        return [thing["spec"]["template"] for thing in of_kind("Deployment", sets=sets)]

    for pod in pods():
        (zones,) = pod["spec"]["topologySpreadConstraints"]
        assert zones["whenUnsatisfiable"] == "ScheduleAnyway"
        assert zones["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert pods() == pods("components.lightrag-api.replicas=3")


def test_a_name_that_is_a_word_of_yaml_stays_a_name() -> None:
    objects = render("namespace='null'", release="no")
    assert {ref(thing).namespace for thing in objects} == {"", "null"}
    labels = [value for value in walk(objects) if isinstance(value, dict) and "app.kubernetes.io/instance" in value]
    assert len(labels) > len(SERVICES)
    assert {one["app.kubernetes.io/instance"] for one in labels} == {"no"}


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: load, namespace: {{ namespace }}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: {{ profile.image.tag }} }]}}}
"""


def test_a_job_with_another_content_is_another_job_for_jobs_cannot_change(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "job.yaml.j2").write_text(JOB)

    def name(*sets: str) -> str:
        plan = make_plan("rel", load_profile("dev", assignments=sets))
        return str(render_plan(plan, tmp_path)[0]["metadata"]["name"])

    assert name().startswith("load-")
    assert name() == name("components.embedder.replicas=2")
    assert name() != name("image.tag=v2")
