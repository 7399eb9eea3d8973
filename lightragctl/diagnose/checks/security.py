"""Checks of access: authentication, exposure, secrets, privileges. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject
from lightragctl.diagnose.check import Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import (
    BINDINGS,
    CLUSTER_SERVICES,
    DEPLOYED,
    INGRESSES,
    MACHINE,
    SEARCHED,
    WORKLOADS,
)
from lightragctl.kube.labels import INSTANCE, component_of
from lightragctl.kube.objects import Part, labels_of, name_of, spec_of

_OUTSIDE = ("NodePort", "LoadBalancer")
_INNER = ("vector-engine", "etcd", "kafka", "model-gateway", "embedder", "mock-llm", "model-server")


def _exposed(facts: Facts, component: str) -> str:
    """What leads to the component from outside the cluster; empty when nothing does."""
    for one in facts[CLUSTER_SERVICES]:
        if _leads_to(one, component, facts) and spec_of(one).get("type") in _OUTSIDE:
            return f"Service/{name_of(one)} ({spec_of(one).get('type')})"
    for one in facts[INGRESSES]:
        if component_of(one) == component:
            return f"Ingress/{name_of(one)}"
    return ""


def _leads_to(service: KubernetesObject, component: str, facts: Facts) -> bool:
    """Whether a Service, also one of another user, selects pods of the component."""
    if component_of(service) == component and labels_of(service).get(INSTANCE) == facts[DEPLOYED].release:
        return True
    selector = spec_of(service).get("selector") or {}
    templates = [one for one in facts[WORKLOADS] if component_of(one) == component]
    labels = [((spec_of(one).get("template") or {}).get("metadata") or {}).get("labels") or {} for one in templates]
    return bool(selector) and any(selector.items() <= one.items() for one in labels)


def _open(facts: Facts) -> Iterator[Trouble]:
    way = _exposed(facts, "lightrag-api")
    if facts[SEARCHED].without_key == 200 and ((way and "NodePort" not in way) or facts[DEPLOYED].production):
        where = f" through {way}" if way else ""
        message = f"it accepts requests without a key{where}: any client can read, load and delete documents"
        hint = Hint("set components.lightrag-api.api_key: generated, then: ", Command("up"))
        yield Trouble("lightrag-api", message, hint, evidence=("GET /documents without a key answers 200",))


def _inner(facts: Facts) -> Iterator[Trouble]:
    for component in _INNER:
        if way := _exposed(facts, component):
            message = f"{way} leads to {component} from outside the cluster, which requires no password"
            hint = Hint("remove it: ", Command("diff"), ", then ", Command("up"), "; or set its type to ClusterIP")
            yield Trouble(way.split(" ")[0], message, hint, evidence=(f"component {component}",))


def _pods(facts: Facts) -> Iterator[tuple[str, Part]]:
    for one in facts[WORKLOADS]:
        yield f"{one['kind']}/{name_of(one)}", (spec_of(one).get("template") or {}).get("spec") or {}


def _privileged(facts: Facts) -> Iterator[Trouble]:
    for subject, pod in _pods(facts):
        rights = [name for name in ("hostNetwork", "hostPID") if pod.get(name)]
        rights += [f"hostPath {one['hostPath'].get('path')}" for one in pod.get("volumes") or () if one.get("hostPath")]
        for container in pod.get("containers") or ():
            if (container.get("securityContext") or {}).get("privileged"):
                rights.append(f"privileged container {container.get('name')}")
        if rights:
            message = f"its pods have node privileges that the release does not need:  {', '.join(rights)}"
            yield Trouble(
                subject, message, Hint("see who changed it: ", Command("diff"), "; change back: ", Command("up"))
            )


def _root(facts: Facts) -> Iterator[Trouble]:
    for subject, pod in _pods(facts):
        general = pod.get("securityContext") or {}
        for container in pod.get("containers") or ():
            own = container.get("securityContext") or {}
            if own.get("runAsUser", general.get("runAsUser")) == 0:
                message = f"container {container.get('name')} runs as root"
                yield Trouble(subject, message, Hint("set run_as.user in the profile, then: ", Command("up")))


def _plain(facts: Facts) -> Iterator[Trouble]:
    for subject, pod in _pods(facts):
        for container in pod.get("containers") or ():
            if names := container.get("secretNames"):
                message = f"its pods contain secrets in plain text:  {', '.join(names)}"
                hint = Hint("move them to a Secret, and refer to it in the profile; then: ", Command("up"))
                yield Trouble(subject, message, hint, evidence=(f"container {container.get('name')}",))


def _tokens(facts: Facts) -> Iterator[Trouble]:
    for subject, pod in _pods(facts):
        if pod.get("automountServiceAccountToken") is True:
            message = "its pods mount a token for the API server"
            hint = Hint("set automountServiceAccountToken: false; see who changed it: ", Command("diff"))
            yield Trouble(subject, message, hint)


_POWERFUL = ("cluster-admin", "admin", "edit")


def _bindings(facts: Facts) -> Iterator[Trouble]:
    accounts = {str(pod.get("serviceAccountName") or "default") for _, pod in _pods(facts)}
    for one in facts[BINDINGS]:
        role = str((one.get("roleRef") or {}).get("name"))
        for subject in one.get("subjects") or ():
            wide = subject.get("kind") == "Group" and str(subject.get("name", "")).startswith("system:serviceaccounts")
            ours = subject.get("kind") == "ServiceAccount" and subject.get("name") in accounts
            if role in _POWERFUL and (wide or ours):
                message = (
                    f"it gives {subject.get('kind')} {subject.get('name')}, which the pods run as, the role {role}"
                )
                hint = Hint(f"delete it: kubectl -n {facts[DEPLOYED].namespace} delete rolebinding {name_of(one)}")
                yield Trouble(f"RoleBinding/{name_of(one)}", message, hint)


def _readable(facts: Facts) -> Iterator[Trouble]:
    mode = facts[MACHINE].folder_mode
    if mode & 0o077:
        message = f"other users of this machine may read the release's documents and secrets (mode {mode:03o})"
        yield Trouble("folder", message, Hint("chmod 700 the folder; its path: ", Command("status")))


def _no_tls(facts: Facts) -> Iterator[Trouble]:
    for one in facts[INGRESSES]:
        if facts[DEPLOYED].production and not spec_of(one).get("tls"):
            message = "API keys and documents travel in plain text"
            hint = Hint("set a certificate: components.lightrag-api.expose.tls_secret; then: ", Command("up"))
            yield Trouble(f"Ingress/{name_of(one)}", message, hint)


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_check = partial(Check, category=Category.SECURITY)
_BACK = Hint("apply the profile: ", Command("up"))

CHECKS = (
    _check(
        code="LR601",
        title="lightrag-api requires a key where others can reach it",
        severity=_ERROR,
        needs=(SEARCHED, CLUSTER_SERVICES, INGRESSES, WORKLOADS, DEPLOYED),
        judge=_open,
        fix=Hint("set components.lightrag-api.api_key: generated, then: ", Command("up")),
    ),
    _check(
        code="LR602",
        title="components without a password are not reachable from outside",
        severity=_ERROR,
        needs=(CLUSTER_SERVICES, INGRESSES, WORKLOADS, DEPLOYED),
        judge=_inner,
        fix=_BACK,
    ),
    _check(
        code="LR603",
        title="pods have no privileges on their nodes",
        severity=_ERROR,
        needs=(WORKLOADS,),
        judge=_privileged,
        fix=_BACK,
    ),
    _check(
        code="LR604",
        title="containers do not run as root",
        severity=_WARNING,
        needs=(WORKLOADS,),
        judge=_root,
        fix=_BACK,
    ),
    _check(
        code="LR605",
        title="pods read their secrets from Secrets",
        severity=_ERROR,
        needs=(WORKLOADS,),
        judge=_plain,
        fix=_BACK,
    ),
    _check(
        code="LR606",
        title="pods mount no token for the API server",
        severity=_WARNING,
        needs=(WORKLOADS,),
        judge=_tokens,
        fix=_BACK,
    ),
    _check(
        code="LR607",
        title="the pods' service accounts have no broad permissions",
        severity=_ERROR,
        needs=(BINDINGS, WORKLOADS, DEPLOYED),
        judge=_bindings,
        fix=Hint("delete the RoleBinding, or bind a ServiceAccount that no pod of the release uses"),
    ),
    _check(
        code="LR608",
        title="only its owner reads the folder of a local release",
        severity=_WARNING,
        needs=(MACHINE,),
        judge=_readable,
        fix=Hint("chmod 700 the folder of the release; its path: ", Command("status")),
    ),
    _check(
        code="LR609",
        title="clients connect over TLS in production",
        severity=_WARNING,
        needs=(INGRESSES, DEPLOYED),
        judge=_no_tls,
        fix=_BACK,
    ),
)
