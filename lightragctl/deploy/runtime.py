"""The Kubernetes runtime: a release in a namespace of a cluster."""

import base64
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lightragctl.checks.preflight import access_of_unlock, check_rights
from lightragctl.components import all_components
from lightragctl.core.component import Plan
from lightragctl.core.errors import LightragctlError, NotRunningError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import (
    AppliedRelease,
    Approve,
    Differences,
    ForeignField,
    ReleaseStatus,
    Revision,
    Unlocked,
    UpOptions,
    UpOutcome,
    way_to_a_release,
)
from lightragctl.core.settings import SecretKey
from lightragctl.deploy.applied import read_applied
from lightragctl.deploy.apply import read_live
from lightragctl.deploy.attention import read_warnings
from lightragctl.deploy.down import kept_words, take_down
from lightragctl.deploy.drift import zero
from lightragctl.deploy.history import read_revision
from lightragctl.deploy.hold import hold, read_replicas, resume
from lightragctl.deploy.prepare import autoscalers, drift_since, read_record
from lightragctl.deploy.reach import refuse_forbidden, refuse_stream
from lightragctl.deploy.record import Phase, Record, releases_in
from lightragctl.deploy.rollback import read_history, read_holder, read_one, rollback_target
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.target import growing_nodes, ignore_rules
from lightragctl.deploy.up import bring_up, foresee, wanted
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.labels import component_of, record_selector
from lightragctl.kube.lease import LockHolder, Verdict, judge, lease_ref, unlock
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import is_ready, is_terminating, status_of
from lightragctl.kube.scope import Scope
from lightragctl.kube.streams import PickPod, Tunnel, run_in_pod
from lightragctl.observe.kstatus import Progress, Zero
from lightragctl.observe.logs import read_logs
from lightragctl.observe.snapshot import View, component_status, progress, read_causes, read_view
from lightragctl.observe.wait import Patience


@dataclass(frozen=True)
class KubernetesRuntime:
    """A release on a cluster; implements `core.runtime.ReleaseRuntime` and `Revisions`."""

    client: ClusterClient
    namespace: str
    release: str
    holder: LockHolder
    _tunnels: dict[str, Tunnel] = field(default_factory=dict, compare=False)

    @property
    def scope(self) -> Scope:
        """Which release, and where."""
        return Scope(self.client, self.namespace, self.release, self.holder)

    @property
    def data(self) -> str:
        """The release's volumes and keys."""
        return kept_words(self.scope, read_record(self.scope))

    def diff(self, plan: Plan, options: UpOptions) -> Differences:
        """What `up` would do, by the server's own dry run."""
        return foresee(self.scope, wanted(plan), options)

    def up(self, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """See `bring_up`."""
        changed = bring_up(self.scope, plan, options, approve, notify)
        return UpOutcome(changed, self.status())

    def history(self) -> Sequence[Revision]:
        """See `read_history`."""
        return read_history(self.scope)

    def revision(self, number: int) -> Revision:
        """See `read_one`."""
        return read_one(self.scope, number)

    def rollback_diff(self, revision: int | None, options: UpOptions) -> Differences:
        """What `rollback` would do, by the server's own dry run."""
        return foresee(self.scope, rollback_target(self.scope, revision), options)

    def rollback(self, revision: int | None, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """See `rollback_target` and `roll_out`."""
        changed = roll_out(self.scope, rollback_target(self.scope, revision), options, approve, notify)
        return UpOutcome(changed, self.status())

    def unlock(self, even_if_fresh: bool) -> Unlocked:
        """See `kube.lease.unlock`."""
        check_rights(self.client, self.namespace, access_of_unlock(self.namespace))
        held = unlock(self.client, lease_ref(self.release, self.namespace), self.holder, even_if_fresh)
        if held is None:
            return Unlocked()
        age_s = (self.holder.now() - held.renewed).total_seconds()
        return Unlocked(held.who, held.command, held.acquired.strftime("%Y-%m-%dT%H:%M:%SZ"), round(age_s, 1))

    def down(self, purge: bool, timeout_s: float, notify: Notify, allow_data_loss: bool = False) -> bool:
        """See `take_down`."""
        return take_down(self.scope, purge, timeout_s, notify, allow_data_loss)

    def status(self) -> ReleaseStatus:
        """The release as the cluster shows it.

        Raises:
            NotRunningError: the namespace has no such release.
        """
        record = self._record()
        view = read_view(self.scope, growing_nodes(record.profile))
        services = self.client.select("v1", "Service", self.namespace, self.scope.selector)
        ingresses = self.client.select("networking.k8s.io/v1", "Ingress", self.namespace, self.scope.selector)
        services.sort(key=lambda one: one["metadata"]["name"] == f"{self.release}-{component_of(one)}")  # its own last
        endpoints = {component_of(one): _address(one, view) for one in services}
        endpoints |= {component_of(one): _ingress_address(one) for one in ingresses}
        last = read_revision(self.scope, record.revision) if record.revision else None
        asleep = self._asleep(record, last, view)
        parts = []
        for name in record.components:
            current = progress(view, name).progress is Progress.CURRENT
            causes = [] if current or record.phase is Phase.STOPPED else read_causes(self.scope, view, name)
            cause = causes[0] if causes else None
            parts.append(component_status(view, name, endpoints.get(name, ""), cause, asleep.get(name)))
        where = f"kubernetes, namespace {self.namespace} of {self.client.name}"
        return ReleaseStatus(
            release=self.release,
            profile=record.profile_name,
            runtime=where,
            components=tuple(parts),
            data=kept_words(self.scope, record),
            message=self._message(record),
            revision=record.revision or None,
            drift=self._drift(record, last),
            warnings=read_warnings(self.scope, record, last, view),
        )

    def _asleep(self, record: Record, last: Revision | None, view: View) -> dict[str, Zero]:
        """Who left components without pods."""
        rules, applied = ignore_rules(record.profile), {ref(one): one for one in (last.objects if last else ())}
        scalers = autoscalers(self.scope)
        found: dict[str, Zero] = {}
        for one in (one for things in view.workloads.values() for one in things):
            nobody = zero(applied.get(ref(one)), one, rules, scalers)
            if nobody and (nobody.is_meant is False or component_of(one) not in found):
                found[component_of(one)] = nobody
        return found

    def _drift(self, record: Record, last: Revision | None) -> tuple[ForeignField, ...]:
        """What others have changed since the release was applied."""
        if last is None or record.phase is not Phase.APPLIED:
            return ()
        looked_at = [thing for thing in last.objects if thing["kind"] not in ("Secret", "Namespace")]
        readable = tuple(thing for thing in looked_at if self._may_read(thing))
        return drift_since(record, replace(last, objects=readable), read_live(self.scope, readable))

    def _may_read(self, thing: KubernetesObject) -> bool:
        """Whether we may look at the object: who may read the namespace may not always read the cluster."""
        if thing["metadata"].get("namespace"):
            return True
        try:
            self.client.get(ref(thing))
        except ForbiddenError:
            return False
        return True

    def applied(self, include_secrets: bool = False) -> AppliedRelease:
        """See `read_applied`."""
        return read_applied(self.scope, self._record(), include_secrets)

    def replicas(self, component: str) -> int:
        """See `read_replicas`."""
        return read_replicas(self.scope, component)

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        """See `deploy.hold.hold`."""
        hold(self.scope, component, reason, Patience.of(timeout_s, notify))

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        """See `deploy.hold.resume`."""
        resume(self.scope, component, replicas, Patience.of(timeout_s, notify))

    def close(self) -> None:
        """Close the tunnels to its pods; their addresses lead nowhere then."""
        for tunnel in self._tunnels.values():
            tunnel.close()
        self._tunnels.clear()

    def endpoint(self, component: str) -> str:
        """A port of loopback that leads to a ready pod of the component, as long as this process lives.

        Raises:
            NotRunningError: there is no such release, or no ready pod of the component.
        """
        self._ready_pods(component)
        return self._led(component, lambda: self._pick(component))

    def endpoints(self, component: str) -> Mapping[str, str]:
        """Ports of loopback that lead each to one ready pod of the component, by the pod's name.

        Raises:
            NotRunningError: there is no such release, or no ready pod of the component.
        """
        pods = {pod["metadata"]["name"]: pod for pod in self._ready_pods(component)}
        return {name: self._led(f"Pod/{name}", partial(way_to, [pod])) for name, pod in pods.items()}

    def spread(self, component: str) -> str:
        """A port of loopback whose connections lead to the ready pods of the component in turn.

        Raises:
            NotRunningError: there is no such release, or no ready pod of the component.
        """
        self._ready_pods(component)
        turns = itertools.count()
        return self._led(f"all of {component}", lambda: self._pick(component, next(turns)))

    def _led(self, key: str, pick: PickPod) -> str:
        """The address of a tunnel, made when it is first asked for."""
        if key not in self._tunnels:
            refuse_forbidden(self.scope, "portforward")
            self._tunnels[key] = Tunnel(self.client, pick, 0, lambda reason: None)
        return f"http://127.0.0.1:{self._tunnels[key].port}"

    def components(self) -> tuple[str, ...]:
        """The names of the release's components, by its record.

        Raises:
            NotRunningError: the namespace has no such release.
        """
        return self._record().components

    def api_key(self, component: str = "lightrag-api") -> str | None:
        """The first key of the Secret that the component reads its keys from.

        Raises:
            LightragctlError: the Secret has no key, or we may not read it.
        """
        values = self._record().profile["components"].get(component, {})
        found = _key_source(self.release, component, values.get("api_key"))
        if found is None:
            return None
        secret = self.client.get(ObjectRef("v1", "Secret", self.namespace, found.name))
        encoded = ((secret or {}).get("data") or {}).get(found.key, "")
        keys = base64.b64decode(encoded).decode().split()
        if not keys:
            raise LightragctlError(
                f"Secret/{found.name} holds no {found.key}", "bring the release up again: lightragctl up"
            )
        return keys[0]

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the pods' logs as (component, line); those of one pod stay in order.

        Raises:
            NotRunningError: there is no such release or component.
        """
        names = self._component_names(component)
        pods = [(name, pod["metadata"]["name"]) for name in names for pod in read_view(self.scope).pods_of(name)]
        if not pods:
            raise NotRunningError(f"release '{self.release}' has no pods", "start it: lightragctl up")
        return read_logs(self.scope, pods, follow, tail_lines)

    def exec(self, component: str, command: Sequence[str]) -> int:
        """Run a command in a pod of the component, a ready one if there is one.

        Raises:
            NotRunningError: there is no pod of it.
        """
        self._component_names(component)
        pods = self._reached(component)
        running = [pod for pod in pods if status_of(pod).get("phase") == "Running"]
        chosen = next(iter([pod for pod in running if _takes_requests(pod)] or running), None)
        if chosen is None:
            raise NotRunningError(f"{component} has no running pod", "see: lightragctl status")
        refuse_stream(self.scope, "exec", chosen)
        return run_in_pod(self.client, self.namespace, chosen["metadata"]["name"], command)

    def forward(self, component: str, port: int, notify: Notify) -> None:
        """Lead a local port to the component until interrupted.

        Raises:
            NotRunningError: there is no ready pod of the component.
        """
        refuse_stream(self.scope, "portforward", self._ready_pods(component)[0])
        tunnel = Tunnel(
            self.client, lambda: self._pick(component), port, lambda reason: notify(Event(reason, component))
        )
        notify(Event(f"http://127.0.0.1:{tunnel.port} leads to {component}; Ctrl-C ends it", component))
        tunnel.wait()

    def _record(self) -> Record:
        record = read_record(self.scope)
        if record is None:
            message = f"there is no release '{self.release}' in namespace {self.namespace} of {self.client.name}"
            place = "; or name another place: -n, --context, --name"
            raise NotRunningError(message, way_to_a_release(self.release, self._releases(), place))
        return record

    def _releases(self) -> list[str]:
        """The releases of the namespace; none where we may not list their records."""
        try:
            return releases_in(self.client.select("v1", "ConfigMap", self.namespace, record_selector()))
        except ForbiddenError:
            return []

    def _component_names(self, component: str | None) -> list[str]:
        names = list(self._record().components)
        if component is not None and component not in names:
            raise NotRunningError(f"release '{self.release}' has no {component}", f"it has: {', '.join(names)}")
        return names if component is None else [component]

    def _message(self, record: Record) -> str:
        if record.phase is Phase.STOPPED:
            return "stopped; start it: lightragctl up"
        if record.phase is Phase.APPLYING:
            held = read_holder(self.scope)
            if held and judge(held, self.holder) not in (Verdict.FREE, Verdict.DEAD):
                return f"{held} has been changing it since {held.acquired.strftime('%Y-%m-%d %H:%M:%S')} UTC"
            return "the last change did not come to its end: lightragctl history; go on: lightragctl up"
        return ""

    def _ready_pods(self, component: str) -> list[KubernetesObject]:
        self._component_names(component)
        pods = [pod for pod in self._reached(component) if _takes_requests(pod)]
        if not pods:
            raise NotRunningError(f"{component} has no ready pod", "see why: lightragctl status")
        return pods

    def _reached(self, component: str) -> list[KubernetesObject]:
        """The component's pods that its Service leads to; all of them when it has none of its own name."""
        pods = read_view(self.scope).pods_of(component)
        service = self.client.get(ObjectRef("v1", "Service", self.namespace, f"{self.release}-{component}"))
        wanted = (service or {}).get("spec", {}).get("selector") or {}
        return [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]

    def _pick(self, component: str, turn: int = 0) -> tuple[str, str, int]:
        return way_to(self._ready_pods(component), turn)


def way_to(pods: Sequence[KubernetesObject], turn: int = 0) -> tuple[str, str, int]:
    """Namespace, name and port of the pod whose turn it is."""
    pod = pods[turn % len(pods)]
    port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
    return pod["metadata"]["namespace"], pod["metadata"]["name"], int(port)


def _takes_requests(pod: KubernetesObject) -> bool:
    return is_ready(pod) and not is_terminating(pod)


def _address(service: KubernetesObject, view: View) -> str:
    """Where the service is reached: from outside by a node's port, else by its name inside the cluster."""
    port = service["spec"]["ports"][0]
    hosts = [pod["status"]["hostIP"] for pod in view.pods_of(component_of(service)) if "hostIP" in status_of(pod)]
    if service["spec"]["type"] == "NodePort" and hosts:
        return f"http://{hosts[0]}:{port['nodePort']}"
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}:{port['port']}"


def _ingress_address(ingress: KubernetesObject) -> str:
    scheme = "https" if ingress["spec"].get("tls") else "http"
    return f"{scheme}://{ingress['spec']['rules'][0].get('host', '')}"


def _key_source(release: str, component: str, wanted: object) -> SecretKey | None:
    """The Secret and the key in it, from the component's `api_key`; None when there is no key."""
    if isinstance(wanted, Mapping) and isinstance(wanted.get("secret"), Mapping):
        return SecretKey(name=str(wanted["secret"]["name"]), key=str(wanted["secret"]["key"]))
    generated = next((one.generated_key for one in all_components() if one.name == component), None)
    return generated(release) if generated and wanted == "generated" else None
