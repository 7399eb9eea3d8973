"""Objects of a release's namespace and of the cluster; a kind without list permission is missing, others are not."""

from base64 import b64decode
from binascii import Error as Base64Error

from lightragctl.core.objects import ObjectRef
from lightragctl.core.profile import Runtime
from lightragctl.diagnose import keys
from lightragctl.diagnose.certificates import expires_at
from lightragctl.diagnose.collect.source import Collector, Read, Source
from lightragctl.diagnose.facts import Fact, Facts
from lightragctl.diagnose.keys import CERTIFICATES, Objects
from lightragctl.diagnose.model import Certificate, NamespaceState
from lightragctl.diagnose.projection import projected
from lightragctl.diagnose.text import redacted
from lightragctl.kube.objects import name_of, spec_of, status_of

_OWN, _PODS, _ANY = "own", "pods", "any"
"""Selected by the labels of our objects, by those of our pods, or not at all."""

_LISTED: tuple[tuple[Fact[Objects], str, tuple[str, ...], str, str | None], ...] = (
    # fact, API version, kinds, selector, namespace (None: the release's; empty: none)
    (keys.WORKLOADS, "apps/v1", ("Deployment", "StatefulSet"), _OWN, None),
    (keys.REPLICA_SETS, "apps/v1", ("ReplicaSet",), _PODS, None),
    (keys.PODS, "v1", ("Pod",), _PODS, None),
    (keys.CLAIMS, "v1", ("PersistentVolumeClaim",), _PODS, None),
    (keys.EVENTS, "v1", ("Event",), _ANY, None),
    (keys.CLUSTER_SERVICES, "v1", ("Service",), _ANY, None),
    (keys.SLICES, "discovery.k8s.io/v1", ("EndpointSlice",), _ANY, None),
    (keys.AUTOSCALERS, "autoscaling/v2", ("HorizontalPodAutoscaler",), _ANY, None),
    (keys.BUDGETS, "policy/v1", ("PodDisruptionBudget",), _ANY, None),
    (keys.QUOTAS, "v1", ("ResourceQuota",), _ANY, None),
    (keys.POLICIES, "networking.k8s.io/v1", ("NetworkPolicy",), _ANY, None),
    (keys.INGRESSES, "networking.k8s.io/v1", ("Ingress",), _OWN, None),
    (keys.BINDINGS, "rbac.authorization.k8s.io/v1", ("RoleBinding",), _ANY, None),
    (keys.NODES, "v1", ("Node",), _ANY, ""),
    (keys.NODE_LEASES, "coordination.k8s.io/v1", ("Lease",), _ANY, "kube-node-lease"),
    (keys.POD_METRICS, "metrics.k8s.io/v1beta1", ("PodMetrics",), _ANY, None),
    (keys.NODE_METRICS, "metrics.k8s.io/v1beta1", ("NodeMetrics",), _ANY, ""),
)
_DNS_SELECTOR = "k8s-app=kube-dns"


def _lister(fact: Fact[Objects], version: str, kinds: tuple[str, ...], by: str, where: str | None) -> Read:
    def read(source: Source, facts: Facts) -> None:
        scope = source.scope
        selector = {_OWN: scope.selector, _PODS: scope.pods, _ANY: ""}[by]
        namespace = scope.namespace if where is None else where
        found: Objects = []
        for kind in kinds:
            if scope.cluster.resource(version, kind) is None:
                facts.miss(fact, f"the cluster does not serve {kind} of {version}")
                return
            found += map(projected, scope.cluster.select(version, kind, namespace, selector))
        facts.put(fact, found)

    return read


def read_dns(source: Source, facts: Facts) -> None:
    """Put `DNS_PODS`."""
    pods = source.scope.cluster.select("v1", "Pod", "kube-system", _DNS_SELECTOR)
    facts.put(keys.DNS_PODS, [projected(one) for one in pods])


def read_namespace(source: Source, facts: Facts) -> None:
    """Put `NAMESPACE`."""
    scope = source.scope
    found = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
    status = status_of(found)
    conditions = [one for one in status.get("conditions") or () if one.get("status") == "True"]
    blocked = [redacted(str(one.get("message") or one.get("type"))) for one in conditions]
    facts.put(keys.NAMESPACE, NamespaceState(scope.namespace, status.get("phase") == "Terminating", blocked))


def read_certificates(source: Source, facts: Facts) -> None:
    """Put `CERTIFICATES`: of the Secrets that Ingresses name only the end of the public certificate is kept."""
    scope = source.scope
    found: dict[str, Certificate] = {}
    for ingress in scope.select("networking.k8s.io/v1", "Ingress"):
        for name in (str(one.get("secretName") or "") for one in spec_of(ingress).get("tls") or ()):
            secret = scope.cluster.get(ObjectRef("v1", "Secret", scope.namespace, name)) if name else None
            until = _until(((secret or {}).get("data") or {}).get("tls.crt", ""))
            if until is not None:
                found[name] = Certificate(name, until, f"Ingress/{name_of(ingress)}")
    facts.put(CERTIFICATES, list(found.values()))


def _until(encoded: str) -> float | None:
    try:
        return expires_at(b64decode(encoded))
    except (Base64Error, ValueError):
        return None


COLLECTORS = (
    *(
        Collector(fact.name, (fact,), _lister(fact, version, kinds, by, where), Runtime.KUBERNETES)
        for fact, version, kinds, by, where in _LISTED
    ),
    Collector("namespace", (keys.NAMESPACE,), read_namespace, Runtime.KUBERNETES),
    Collector("dns", (keys.DNS_PODS,), read_dns, Runtime.KUBERNETES),
    Collector("certificates", (CERTIFICATES,), read_certificates, Runtime.KUBERNETES),
)
