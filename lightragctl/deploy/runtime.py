"""The Kubernetes runtime: a release in a namespace of a cluster."""

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lightragctl.checks.preflight import access_of_unlock, check_rights
from lightragctl.components import all_components
from lightragctl.core.component import Plan
from lightragctl.core.errors import LightragctlError, NotRunningError
from lightragctl.core.findings import with_hint
from lightragctl.core.hint import Command, Hint
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.result import Event, Notify
from lightragctl.core.runtime import (
    AppliedRelease,
    Approve,
    Differences,
    ForeignField,
    ReleaseStatus,
    Revision,
    UnlockResult,
    UpOptions,
    UpOutcome,
    missing_release_hint,
)
from lightragctl.core.settings import SecretKey
from lightragctl.deploy.applied import read_applied
from lightragctl.deploy.apply import read_live
from lightragctl.deploy.desired_state import autoscaled_nodes, ignore_rules
from lightragctl.deploy.down import describe_kept, tear_down
from lightragctl.deploy.drift import ignored
from lightragctl.deploy.health import find_risks
from lightragctl.deploy.hold import hold, read_replicas, resume
from lightragctl.deploy.inventory import Inventory, ReleasePhase, releases_in
from lightragctl.deploy.reachability import refuse_forbidden, refuse_stream
from lightragctl.deploy.revision_store import read_revision
from lightragctl.deploy.rollback import read_history, read_history_entry, read_holder, rollback_target
from lightragctl.deploy.rollout import roll_out
from lightragctl.deploy.rollout_plan import autoscalers, drift_since, read_inventory
from lightragctl.deploy.up import bring_up, preview, wanted
from lightragctl.kube.client import ClusterClient
from lightragctl.kube.labels import component_of, inventory_selector
from lightragctl.kube.lease import LockHolder, LockState, lease_ref, lock_state, unlock
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import is_ready, is_terminating, status_of
from lightragctl.kube.scope import Scope
from lightragctl.kube.streams import PickPod, Tunnel, run_in_pod
from lightragctl.observe.kstatus import Status
from lightragctl.observe.logs import read_logs
from lightragctl.observe.scaling import REPLICAS, ScaledToZero, scaled_to_zero
from lightragctl.observe.snapshot import Snapshot, component_status, read_causes, read_snapshot, resource_status
from lightragctl.observe.wait import Deadline


@dataclass(frozen=True)
class KubernetesRuntime:
    """A release on a cluster; implements `core.runtime.ReleaseRuntime` and `Revisions`."""

    client: ClusterClient
    namespace: str
    release: str
    holder: LockHolder
    addresses: Callable[[str], str] | None = None
    _tunnels: dict[str, Tunnel] = field(default_factory=dict, compare=False)

    @property
    def scope(self) -> Scope:
        """The release and its cluster."""
        return Scope(self.client, self.namespace, self.release, self.holder)

    @property
    def data(self) -> str:
        """The release's volumes and keys."""
        return describe_kept(self.scope, read_inventory(self.scope))

    def diff(self, plan: Plan, options: UpOptions) -> Differences:
        """The changes that `up` would make, by server-side dry runs."""
        return preview(self.scope, wanted(plan), options)

    def up(self, plan: Plan, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """See `bring_up`."""
        changed = bring_up(self.scope, plan, options, approve, notify)
        return UpOutcome(changed, self.status())

    def history(self) -> Sequence[Revision]:
        """See `read_history`."""
        return read_history(self.scope)

    def revision(self, number: int) -> Revision:
        """See `read_history_entry`."""
        return read_history_entry(self.scope, number)

    def rollback_diff(self, revision: int | None, options: UpOptions) -> Differences:
        """The changes that `rollback` would make, by server-side dry runs."""
        return preview(self.scope, rollback_target(self.scope, revision), options)

    def rollback(self, revision: int | None, options: UpOptions, approve: Approve, notify: Notify) -> UpOutcome:
        """See `rollback_target` and `roll_out`."""
        changed = roll_out(self.scope, rollback_target(self.scope, revision), options, approve, notify)
        return UpOutcome(changed, self.status())

    def unlock(self, even_if_fresh: bool) -> UnlockResult:
        """See `kube.lease.unlock`."""
        check_rights(self.client, self.namespace, access_of_unlock(self.namespace))
        held = unlock(self.client, lease_ref(self.release, self.namespace), self.holder, even_if_fresh)
        if held is None:
            return UnlockResult()
        age_s = (self.holder.now() - held.renewed).total_seconds()
        return UnlockResult(held.who, held.command, held.acquired.strftime("%Y-%m-%dT%H:%M:%SZ"), round(age_s, 1))

    def down(self, purge: bool, timeout_s: float, notify: Notify, allow_data_loss: bool = False) -> bool:
        """See `tear_down`."""
        return tear_down(self.scope, purge, timeout_s, notify, allow_data_loss)

    def status(self) -> ReleaseStatus:
        """The status of the release on the cluster.

        Raises:
            NotRunningError: the release does not exist in the namespace.
        """
        inventory = self._inventory()
        snapshot = read_snapshot(self.scope, autoscaled_nodes(inventory.profile))
        services = self.client.select("v1", "Service", self.namespace, self.scope.selector)
        ingresses = self.client.select("networking.k8s.io/v1", "Ingress", self.namespace, self.scope.selector)
        services.sort(key=lambda one: one["metadata"]["name"] == f"{self.release}-{component_of(one)}")
        endpoints = {component_of(one): _address(one, snapshot) for one in services}
        endpoints |= {component_of(one): _ingress_address(one) for one in ingresses}
        last = read_revision(self.scope, inventory.revision) if inventory.revision else None
        zeros = self._scaled_to_zero(inventory, last, snapshot)
        parts = []
        for name in inventory.components:
            current = resource_status(snapshot, name).status is Status.CURRENT
            causes = (
                [] if current or inventory.phase is ReleasePhase.STOPPED else read_causes(self.scope, snapshot, name)
            )
            cause = causes[0] if causes else None
            parts.append(component_status(snapshot, name, endpoints.get(name, ""), cause, zeros.get(name)))
        where = f"kubernetes, namespace {self.namespace} of {self.client.name}"
        return ReleaseStatus(
            release=self.release,
            profile=inventory.profile_name,
            runtime=where,
            components=tuple(parts),
            data=describe_kept(self.scope, inventory),
            message=self._message(inventory),
            revision=inventory.revision or None,
            drift=self._drift(inventory, last),
            warnings=tuple(map(with_hint, find_risks(self.scope, inventory, last, snapshot))),
        )

    def _scaled_to_zero(
        self, inventory: Inventory, last: Revision | None, snapshot: Snapshot
    ) -> dict[str, ScaledToZero]:
        """The components that are scaled to zero, and by whom."""
        rules, applied = ignore_rules(inventory.profile), {ref(one): one for one in (last.objects if last else ())}
        scalers = autoscalers(self.scope)
        found: dict[str, ScaledToZero] = {}
        for one in (one for things in snapshot.workloads.values() for one in things):
            zero = scaled_to_zero(applied.get(ref(one)), one, ignored(rules, one)(REPLICAS), scalers)
            if zero and (zero.is_meant is False or component_of(one) not in found):
                found[component_of(one)] = zero
        return found

    def _drift(self, inventory: Inventory, last: Revision | None) -> tuple[ForeignField, ...]:
        """Drift since the release was applied."""
        if last is None or inventory.phase is not ReleasePhase.APPLIED:
            return ()
        compared = [thing for thing in last.objects if thing["kind"] not in ("Secret", "Namespace")]
        readable = tuple(thing for thing in compared if self._may_read(thing))
        return drift_since(inventory, replace(last, objects=readable), read_live(self.scope, readable))

    def _may_read(self, thing: KubernetesObject) -> bool:
        """Whether we may read the object: permissions for the namespace may not cover cluster-scoped objects."""
        if thing["metadata"].get("namespace"):
            return True
        try:
            self.client.get(ref(thing))
        except ForbiddenError:
            return False
        return True

    def applied(self, include_secrets: bool = False) -> AppliedRelease:
        """See `read_applied`."""
        return read_applied(self.scope, self._inventory(), include_secrets)

    def replicas(self, component: str) -> int:
        """See `read_replicas`."""
        return read_replicas(self.scope, component)

    def hold(self, component: str, reason: str, timeout_s: float, notify: Notify) -> None:
        """See `deploy.hold.hold`."""
        hold(self.scope, component, reason, Deadline.of(timeout_s, notify))

    def resume(self, component: str, replicas: int, timeout_s: float, notify: Notify) -> None:
        """See `deploy.hold.resume`."""
        resume(self.scope, component, replicas, Deadline.of(timeout_s, notify))

    def close(self) -> None:
        """Close the tunnels to its pods; their addresses are invalid afterwards."""
        for tunnel in self._tunnels.values():
            tunnel.close()
        self._tunnels.clear()

    def endpoint(self, component: str) -> str:
        """The address of the component's Service from inside the cluster, else one that is forwarded to a ready pod.

        The latter is a loopback address, valid while this process runs.

        Raises:
            NotRunningError: the release does not exist, or the component has no ready pod.
        """
        self._ready_pods(component)
        if self.addresses is not None:
            return self.addresses(component)
        return self._tunnel(component, lambda: self._pick(component))

    def endpoints(self, component: str) -> Mapping[str, str]:
        """Loopback addresses that are forwarded to the ready pods of the component, by pod name.

        Raises:
            NotRunningError: the release does not exist, or the component has no ready pod.
        """
        pods = {pod["metadata"]["name"]: pod for pod in self._ready_pods(component)}
        return {name: self._tunnel(f"Pod/{name}", partial(pod_port, [pod])) for name, pod in pods.items()}

    def pod_address(self, pod: KubernetesObject) -> str:
        """The address of one pod: its own from inside the cluster, else one that is forwarded to it."""
        _, name, port = pod_port([pod])
        if self.addresses is not None:
            return f"http://{pod['status']['podIP']}:{port}"
        return self._tunnel(f"Pod/{name} {pod['metadata']['uid']}", partial(pod_port, [pod]))

    def spread(self, component: str) -> str:
        """A loopback address whose connections are forwarded to the ready pods of the component in turn.

        Raises:
            NotRunningError: the release does not exist, or the component has no ready pod.
        """
        self._ready_pods(component)
        turns = itertools.count()
        return self._tunnel(f"all of {component}", lambda: self._pick(component, next(turns)))

    def _tunnel(self, key: str, pick: PickPod) -> str:
        """The address of a tunnel, opened on first use."""
        if key not in self._tunnels:
            refuse_forbidden(self.scope, "portforward")
            self._tunnels[key] = Tunnel(self.client, pick, 0, lambda reason: None)
        return f"http://127.0.0.1:{self._tunnels[key].port}"

    def components(self) -> tuple[str, ...]:
        """The names of the release's components, from its inventory.

        Raises:
            NotRunningError: the release does not exist in the namespace.
        """
        return self._inventory().components

    def api_key(self, component: str = "lightrag-api") -> str | None:
        """The first key of the Secret that the component reads its keys from.

        Raises:
            LightragctlError: the Secret has no key, or may not be read.
        """
        values = self._inventory().profile["components"].get(component, {})
        found = _key_source(self.release, component, values.get("api_key"))
        if found is None:
            return None
        keys = (self.secret(found) or "").split()
        if not keys:
            raise LightragctlError(f"Secret/{found.name} has no key {found.key}", Hint("generate it: ", Command("up")))
        return keys[0]

    def secret(self, key: SecretKey) -> str | None:
        """See `Access`."""
        found = self.client.get(ObjectRef("v1", "Secret", self.namespace, key.name))
        encoded = ((found or {}).get("data") or {}).get(key.key)
        return None if encoded is None else base64.b64decode(encoded).decode()

    def logs(self, component: str | None, follow: bool, tail_lines: int) -> Iterator[tuple[str, str]]:
        """Lines of the pods' logs as (component, line); those of one pod stay in order.

        Raises:
            NotRunningError: there is no such release or component.
        """
        names = self._component_names(component)
        pods = [(name, pod["metadata"]["name"]) for name in names for pod in read_snapshot(self.scope).pods_of(name)]
        if not pods:
            raise NotRunningError(f"release '{self.release}' has no pods", Hint("start it: ", Command("up")))
        return read_logs(self.scope, pods, follow, tail_lines)

    def exec(self, component: str, command: Sequence[str]) -> int:
        """Run a command in a pod of the component, a ready one if there is one.

        Raises:
            NotRunningError: there is no pod of it.
        """
        self._component_names(component)
        pods = self._backends(component)
        running = [pod for pod in pods if status_of(pod).get("phase") == "Running"]
        chosen = next(iter([pod for pod in running if _is_serving(pod)] or running), None)
        if chosen is None:
            raise NotRunningError(f"{component} has no running pod", Hint("see: ", Command("status")))
        refuse_stream(self.scope, "exec", chosen)
        return run_in_pod(self.client, self.namespace, chosen["metadata"]["name"], command)

    def forward(self, component: str, port: int, notify: Notify) -> None:
        """Forward a local port to the component until interrupted.

        Raises:
            NotRunningError: the component has no ready pod.
        """
        refuse_stream(self.scope, "portforward", self._ready_pods(component)[0])
        tunnel = Tunnel(
            self.client, lambda: self._pick(component), port, lambda reason: notify(Event(reason, component))
        )
        notify(Event(f"forwarding http://127.0.0.1:{tunnel.port} to {component}; stop with Ctrl-C", component))
        tunnel.wait()

    def _inventory(self) -> Inventory:
        inventory = read_inventory(self.scope)
        if inventory is None:
            message = f"there is no release '{self.release}' in namespace {self.namespace} of {self.client.name}"
            place = "; or check -n, --context and --name"
            raise NotRunningError(message, missing_release_hint(self.release, self._releases(), place))
        return inventory

    def _releases(self) -> list[str]:
        """The releases in the namespace; none without permission to list ConfigMaps."""
        try:
            return releases_in(self.client.select("v1", "ConfigMap", self.namespace, inventory_selector()))
        except ForbiddenError:
            return []

    def _component_names(self, component: str | None) -> list[str]:
        names = list(self._inventory().components)
        if component is not None and component not in names:
            raise NotRunningError(f"release '{self.release}' has no {component}", f"it has: {', '.join(names)}")
        return names if component is None else [component]

    def _message(self, inventory: Inventory) -> str:
        if inventory.phase is ReleasePhase.STOPPED:
            return Hint("stopped; start it: ", Command("up"))
        if inventory.phase is ReleasePhase.APPLYING:
            held = read_holder(self.scope)
            if held and lock_state(held, self.holder) not in (LockState.FREE, LockState.DEAD):
                return f"being changed by {held} since {held.acquired.strftime('%Y-%m-%d %H:%M:%S')} UTC"
            return Hint("the last change is unfinished: ", Command("history"), "; continue it: ", Command("up"))
        return ""

    def _ready_pods(self, component: str) -> list[KubernetesObject]:
        self._component_names(component)
        pods = [pod for pod in self._backends(component) if _is_serving(pod)]
        if not pods:
            raise NotRunningError(f"{component} has no ready pod", Hint("see why: ", Command("status")))
        return pods

    def _backends(self, component: str) -> list[KubernetesObject]:
        """The component's pods that its Service selects; all of them if it has no Service of its own name."""
        pods = read_snapshot(self.scope).pods_of(component)
        service = self.client.get(ObjectRef("v1", "Service", self.namespace, f"{self.release}-{component}"))
        wanted = (service or {}).get("spec", {}).get("selector") or {}
        return [pod for pod in pods if wanted.items() <= pod["metadata"]["labels"].items()]

    def _pick(self, component: str, turn: int = 0) -> tuple[str, str, int]:
        return pod_port(self._ready_pods(component), turn)


def pod_port(pods: Sequence[KubernetesObject], turn: int = 0) -> tuple[str, str, int]:
    """Namespace, name and port of the pod at this turn, in rotation."""
    pod = pods[turn % len(pods)]
    port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
    return pod["metadata"]["namespace"], pod["metadata"]["name"], int(port)


def _is_serving(pod: KubernetesObject) -> bool:
    return is_ready(pod) and not is_terminating(pod)


def _address(service: KubernetesObject, snapshot: Snapshot) -> str:
    """The address of the service: a NodePort, else its name inside the cluster."""
    port = service["spec"]["ports"][0]
    hosts = [pod["status"]["hostIP"] for pod in snapshot.pods_of(component_of(service)) if "hostIP" in status_of(pod)]
    if service["spec"]["type"] == "NodePort" and hosts:
        return f"http://{hosts[0]}:{port['nodePort']}"
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}:{port['port']}"


def _ingress_address(ingress: KubernetesObject) -> str:
    scheme = "https" if ingress["spec"].get("tls") else "http"
    return f"{scheme}://{ingress['spec']['rules'][0].get('host', '')}"


def _key_source(release: str, component: str, wanted: object) -> SecretKey | None:
    """The Secret and its key, from the component's `api_key`; None if there is no API key."""
    if isinstance(wanted, Mapping) and isinstance(wanted.get("secret"), Mapping):
        return SecretKey(name=str(wanted["secret"]["name"]), key=str(wanted["secret"]["key"]))
    generated = next((one.generated_key for one in all_components() if one.name == component), None)
    return generated(release) if generated and wanted == "generated" else None
