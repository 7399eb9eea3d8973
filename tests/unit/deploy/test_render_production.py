"""Rendering for users: topologies of Milvus, spread, scaling, rights; and what holds of every object in any profile."""

from pathlib import Path
from typing import Any

import pytest

from lightragctl.core import assets
from lightragctl.core.errors import ProfileError
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.deploy.render import render_plan
from lightragctl.release.profiles import load_profile, make_plan

SITE = Path(__file__).resolve().parents[2] / "contract" / "site.yaml"
ENGINE = "components.vector-engine"
SIZE = "resources: {requests: {cpu: '1', memory: 1Gi}, limits: {cpu: '1', memory: 1Gi}}"
SERVERS = (
    f"components.model-server={{servers: {{chat: {{kind: vllm, image: {{repository: v, tag: '1'}}, model: q, {SIZE}}},"
    f" small: {{kind: ollama, image: {{repository: o, tag: '1'}}, model: 'q:1b', gpus: 0, {SIZE}}},"
    f" embed: {{kind: tei, image: {{repository: t, tag: '1'}}, model: e, download: false, {SIZE}}}}}}}"
)
SHAPES = {
    "dev": ("dev", ()),
    "prod": ("prod", ()),
    "staging": ("staging", ()),
    "standalone-ha": ("prod", (f"{ENGINE}.topology=standalone-ha", f"{ENGINE}.replicas=2")),
    "kafka of our own": ("prod", ("components.kafka={}", f"{ENGINE}.queue.address=null", "site=null")),
    "with lightrag-server": (
        "prod",
        ("components.lightrag-server={enabled: true, image: {repository: registry.example/lightrag, tag: '1.5.7'}}",),
    ),
    "models of our own": ("prod", (SERVERS, "models.chat={server: chat, url: null}", "site=null")),
}


def render(shape: str = "prod", *sets: str) -> list[KubernetesObject]:
    profile, own = SHAPES[shape]
    values = [SITE] if profile != "dev" else []
    return render_plan(make_plan("rel", load_profile(profile, values, (*own, *sets))), assets.root() / "templates")


def of(objects: list[KubernetesObject], *kinds: str) -> dict[str, Any]:
    return {ref(thing).name: thing for thing in objects if thing["kind"] in kinds}


def workloads(shape: str, *sets: str) -> dict[str, Any]:
    return of(render(shape, *sets), "Deployment", "StatefulSet")


every_shape = pytest.mark.parametrize("shape", SHAPES)


@every_shape
def test_what_selects_pods_holds_no_version_and_the_stable_track(shape: str) -> None:
    for thing in workloads(shape).values():
        selector = thing["spec"]["selector"]["matchLabels"]
        allowed = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")}
        assert selector["track"] == "stable"
        assert set(selector) <= allowed | {"track", "lightragctl/role"}
        assert selector.items() <= thing["spec"]["template"]["metadata"]["labels"].items()
        for claim in thing["spec"].get("volumeClaimTemplates", ()):
            assert set(claim["metadata"]["labels"]) == allowed


@every_shape
def test_no_two_workloads_select_the_same_pods(shape: str) -> None:
    things = list(workloads(shape).values())
    for one in things:
        selected = [
            other["metadata"]["name"]
            for other in things
            if one["spec"]["selector"]["matchLabels"].items() <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert selected == [one["metadata"]["name"]]


@every_shape
def test_a_service_leads_to_pods_by_ports_that_they_name(shape: str) -> None:
    objects = render(shape)
    pods = [thing["spec"]["template"] for thing in of(objects, "Deployment", "StatefulSet").values()]
    for service in of(objects, "Service").values():
        reached = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        assert len(reached) == 1, service["metadata"]["name"]
        named = {port["name"]: port["containerPort"] for port in reached[0]["spec"]["containers"][0]["ports"]}
        assert {port["targetPort"]: port["port"] for port in service["spec"]["ports"]}.items() <= named.items()


@every_shape
def test_a_pod_has_no_rights_and_an_account_of_its_component(shape: str) -> None:
    objects = render(shape)
    accounts = of(objects, "ServiceAccount")
    for thing in of(objects, "Deployment", "StatefulSet").values():
        pod = thing["spec"]["template"]["spec"]
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
    assert not of(objects, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


@every_shape
def test_an_autoscaler_owns_the_number_of_pods_alone(shape: str) -> None:
    objects = render(shape)
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of(objects, "HorizontalPodAutoscaler").values()}
    things = of(objects, "Deployment", "StatefulSet")
    assert scaled <= set(things)
    assert {name for name, thing in things.items() if "replicas" not in thing["spec"]} == scaled


@every_shape
def test_a_disruption_budget_always_lets_a_pod_go(shape: str) -> None:
    objects = render(shape)
    least = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["minReplicas"]
        for one in of(objects, "HorizontalPodAutoscaler").values()
    }
    budgets = of(objects, "PodDisruptionBudget")
    for name, thing in of(objects, "Deployment", "StatefulSet").items():
        count = thing["spec"].get("replicas", least.get(name))
        assert (name in budgets) == (count > 1), name
        if name in budgets:
            assert budgets[name]["spec"]["maxUnavailable"] == 1
            assert budgets[name]["spec"]["selector"] == thing["spec"]["selector"]


def test_another_version_changes_no_selector_and_no_volume_claim() -> None:
    def fixed(things: dict[str, Any]) -> list[Any]:
        return [(one["spec"]["selector"], one["spec"].get("volumeClaimTemplates")) for one in things.values()]

    newer = ("image.tag=v9", f"{ENGINE}.image.tag=v2.3.6", "components.etcd.image.tag=v9")
    assert fixed(workloads("prod")) == fixed(workloads("prod", *newer))


def test_the_api_is_scaled_by_processor_and_by_requests_in_one_autoscaler() -> None:
    scaler = of(render(), "HorizontalPodAutoscaler")["rel-lightrag-api"]["spec"]
    cpu, requests = scaler["metrics"]
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert requests["type"] == "External"
    assert requests["external"]["metric"]["name"] == "requests_per_second"
    assert requests["external"]["target"] == {"type": "AverageValue", "averageValue": "500"}
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_proxies_and_query_nodes_scale_and_coordinators_stand_by() -> None:
    objects = render()
    scaled = {name for name in of(objects, "HorizontalPodAutoscaler") if "vector-engine" in name}
    assert scaled == {"rel-vector-engine-proxy", "rel-vector-engine-querynode"}
    things = of(objects, "Deployment")
    assert things["rel-vector-engine-coordinator"]["spec"]["replicas"] == 2
    assert environment(things["rel-vector-engine-coordinator"])["ROOTCOORD_ENABLEACTIVESTANDBY"] == "true"
    alone = workloads("prod", f"{ENGINE}.roles.coordinator.replicas=1")["rel-vector-engine-coordinator"]
    assert environment(alone)["ROOTCOORD_ENABLEACTIVESTANDBY"] == "false"
    assert alone["spec"]["strategy"] == {"type": "Recreate"}


def environment(thing: Any) -> dict[str, Any]:
    (container,) = thing["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_milvus_finds_what_it_stands_on() -> None:
    told = environment(workloads("prod")["rel-vector-engine-proxy"])
    assert told["ETCD_ENDPOINTS"].split(",")[2] == "rel-etcd-2.rel-etcd-members:2379"
    assert (told["MINIO_ADDRESS"], told["MINIO_PORT"], told["MINIO_USESSL"]) == ("s3.example", "443", "true")
    assert told["MINIO_SECRETACCESSKEY"] == {"secretKeyRef": {"name": "lightrag-object-store", "key": "secret-key"}}
    assert told["KAFKA_BROKERLIST"].startswith("kafka-0.kafka.queues.svc:9092,")
    ours = environment(workloads("kafka of our own")["rel-vector-engine-proxy"])
    assert ours["KAFKA_BROKERLIST"] == "rel-kafka:9092"
    pulsar = environment(
        workloads("prod", f"{ENGINE}.queue={{kind: pulsar, address: 'pulsar.q.svc:6650'}}")["rel-vector-engine-proxy"]
    )
    assert (pulsar["MQ_TYPE"], pulsar["PULSAR_ADDRESS"], pulsar["PULSAR_PORT"]) == ("pulsar", "pulsar.q.svc", "6650")
    assert "KAFKA_BROKERLIST" not in pulsar


def test_kafka_is_asked_with_the_user_of_a_secret() -> None:
    queue = f"{ENGINE}.queue={{protocol: SASL_SSL, mechanism: SCRAM-SHA-512, credentials: {{secret: q}}}}"
    told = environment(workloads("prod", queue)["rel-vector-engine-datanode"])
    assert told["KAFKA_SASLPASSWORD"] == {"secretKeyRef": {"name": "q", "key": "password"}}
    assert (told["KAFKA_SECURITYPROTOCOL"], told["KAFKA_SASLMECHANISMS"]) == ("SASL_SSL", "SCRAM-SHA-512")


def test_standalone_ha_is_one_kind_of_pod_of_which_one_works() -> None:
    things = workloads("standalone-ha")
    assert {name for name in things if "vector-engine" in name} == {"rel-vector-engine-standalone"}
    thing = things["rel-vector-engine-standalone"]
    assert thing["spec"]["replicas"] == 2
    assert environment(thing)["QUERYCOORD_ENABLEACTIVESTANDBY"] == "true"
    assert thing["spec"]["template"]["spec"]["containers"][0]["args"] == ["milvus", "run", "standalone"]


def test_an_external_vector_engine_is_an_address_and_nothing_else() -> None:
    sets = (
        f"{ENGINE}={{topology: external, url: 'http://milvus.v.svc:19530'}}",
        "components.etcd.enabled=false",
        "site=null",
    )
    objects = render("prod", *sets)
    assert not [ref(thing) for thing in objects if "vector-engine" in ref(thing).name or "etcd" in ref(thing).name]
    settings = of(objects, "ConfigMap")["rel-lightrag-api-settings"]["data"]["settings.json"]
    assert '"vector_engine_uri": "http://milvus.v.svc:19530"' in settings


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ((f"{ENGINE}.topology=external",), "requires url"),
        ((f"{ENGINE}.autoscale={{max: 3}}",), "roles.proxy and roles.querynode"),
        (("models.chat.server=chat",), "not both"),
        (("models.chat={server: nobody, url: null}", SERVERS, "site=null"), "model-server has chat, small, embed"),
        ((SERVERS.replace("model: q,", "model: q, replicas: 2,"), ), "one volume"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(sets: tuple[str, ...], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        render("prod", *sets)


def spread(thing: Any) -> tuple[str, str]:
    """How strictly a workload's pods are kept apart: over zones, and over nodes."""
    pod = thing["spec"]["template"]["spec"]
    (zones,) = pod["topologySpreadConstraints"]
    assert zones["topologyKey"] == "topology.kubernetes.io/zone"
    (nodes,) = pod["affinity"]["podAntiAffinity"]
    return zones["whenUnsatisfiable"], nodes


def test_pods_are_kept_apart_as_far_as_their_number_and_their_part_allow() -> None:
    things = workloads("prod")
    required, preferred = (f"{word}DuringSchedulingIgnoredDuringExecution" for word in ("required", "preferred"))
    assert spread(things["rel-etcd"]) == ("DoNotSchedule", required)
    assert spread(things["rel-vector-engine-coordinator"]) == ("DoNotSchedule", required)
    assert spread(things["rel-lightrag-api"]) == ("DoNotSchedule", preferred)
    assert spread(workloads("staging")["rel-vector-engine-datanode"]) == ("ScheduleAnyway", preferred)
    for thing in things.values():
        (zones,) = thing["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert zones["nodeTaintsPolicy"] == "Honor"  # or a lost zone would keep its pods from moving to another


def test_a_pool_is_a_choice_of_nodes_and_a_priority_a_class_of_the_release() -> None:
    objects = render()
    pods = {name: thing["spec"]["template"]["spec"] for name, thing in of(objects, "Deployment").items()}
    query = pods["rel-vector-engine-querynode"]
    assert query["nodeSelector"] == {"lightragctl/pool": "retrieval"}
    assert query["tolerations"][0]["value"] == "retrieval"
    classes = of(objects, "PriorityClass")
    assert {name: one["value"] for name, one in classes.items()} == {
        "lightrag-rel-data-900000": 900000,
        "lightrag-rel-serving-800000": 800000,
    }
    assert query["priorityClassName"] in classes
    none = workloads("prod", "priorities=null", "pools=null")["rel-vector-engine-querynode"]["spec"]["template"]["spec"]
    assert "nodeSelector" not in none
    assert none["priorityClassName"] == "serving"  # a class of the cluster, which the rules then look for


def test_the_namespace_enforces_what_the_profile_says() -> None:
    (namespace,) = of(render(), "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    (plain,) = of(render("dev"), "Namespace").values()
    assert set(plain["metadata"]["labels"]) == {"app.kubernetes.io/managed-by"}


def test_models_of_our_own_have_a_gpu_time_to_start_and_their_weights_on_a_volume() -> None:
    objects = render("models of our own")
    chat, small = (of(objects, "Deployment")[f"rel-model-server-{name}"]["spec"] for name in ("chat", "small"))
    (container,) = chat["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] == 1800
    assert chat["progressDeadlineSeconds"] > 1800
    claims = of(objects, "PersistentVolumeClaim")
    assert chat["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] in claims
    assert "nvidia.com/gpu" not in small["template"]["spec"]["containers"][0]["resources"]["limits"]
    settings = of(objects, "ConfigMap")["rel-model-gateway-settings"]["data"]["settings.json"]
    assert '"url": "http://rel-model-server-chat:8000"' in settings
