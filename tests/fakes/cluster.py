"""A cluster in memory for the deploy engine's tests: objects, field owners, dry runs; controllers finish at once.

A stand-in for the API server, held to the same contract as the real one (tests/contract/test_cluster_door.py). What it
leaves out: defaulting, admission, schema; lists are owned as a whole.
"""

import copy
import itertools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.quantity import quantity
from lightragctl.kube.model import (
    FIELD_MANAGER,
    ChangedMeanwhileError,
    FieldConflictError,
    ForbiddenError,
    ImmutableFieldError,
    InvalidObjectError,
    KindNotServedError,
    Resource,
    ResourceAttributes,
)

KINDS = {
    ("v1", "Namespace"): Resource("", "v1", "namespaces", False),
    ("v1", "Node"): Resource("", "v1", "nodes", False),
    ("v1", "PersistentVolume"): Resource("", "v1", "persistentvolumes", False),
    **{
        ("v1", kind): Resource("", "v1", f"{kind.lower()}s", True)
        for kind in ("ConfigMap", "Secret", "Service", "ServiceAccount", "Pod", "Event", "ResourceQuota", "LimitRange")
    },
    ("v1", "PersistentVolumeClaim"): Resource("", "v1", "persistentvolumeclaims", True),
    **{
        ("apps/v1", kind): Resource("apps", "v1", f"{kind.lower()}s", True)
        for kind in ("Deployment", "StatefulSet", "ReplicaSet")
    },
    ("networking.k8s.io/v1", "Ingress"): Resource("networking.k8s.io", "v1", "ingresses", True),
    ("networking.k8s.io/v1", "IngressClass"): Resource("networking.k8s.io", "v1", "ingressclasses", False),
    ("networking.k8s.io/v1", "NetworkPolicy"): Resource("networking.k8s.io", "v1", "networkpolicies", True),
    ("policy/v1", "PodDisruptionBudget"): Resource("policy", "v1", "poddisruptionbudgets", True),
    ("scheduling.k8s.io/v1", "PriorityClass"): Resource("scheduling.k8s.io", "v1", "priorityclasses", False),
    ("discovery.k8s.io/v1", "EndpointSlice"): Resource("discovery.k8s.io", "v1", "endpointslices", True),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): Resource("rbac.authorization.k8s.io", "v1", "rolebindings", True),
    ("metrics.k8s.io/v1beta1", "NodeMetrics"): Resource("metrics.k8s.io", "v1beta1", "nodes", False),
    ("metrics.k8s.io/v1beta1", "PodMetrics"): Resource("metrics.k8s.io", "v1beta1", "pods", True),
    ("batch/v1", "Job"): Resource("batch", "v1", "jobs", True),
    ("rbac.authorization.k8s.io/v1", "Role"): Resource("rbac.authorization.k8s.io", "v1", "roles", True),
    ("coordination.k8s.io/v1", "Lease"): Resource("coordination.k8s.io", "v1", "leases", True),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): Resource("autoscaling", "v2", "horizontalpodautoscalers", True),
    ("storage.k8s.io/v1", "StorageClass"): Resource("storage.k8s.io", "v1", "storageclasses", False),
}
TOP_KEYS = {"apiVersion", "kind", "metadata", "spec", "data", "binaryData", "stringData", "type", "status"}
TOP_KEYS |= {"automountServiceAccountToken", "value", "description"}  # of a ServiceAccount, of a PriorityClass
FIXED = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy"),
}
"""Parts of the spec that cannot change."""
APPLY, UPDATE = "Apply", "Update"
THE_TIME = "2026-01-01T00:00:00Z"


class DiedError(BaseException):
    """The process was killed at this write."""


class FakeCluster:
    """See the module. `die_at` is the number of the write that is never answered; with `after` it took effect."""

    def __init__(self, die_at: int = 0, after: bool = False) -> None:
        self.name = "fake"
        self.objects: dict[ObjectRef, dict[str, Any]] = {}
        self.owned: dict[tuple[ObjectRef, str], dict[tuple[str, ...], Any]] = {}
        self.writes: list[str] = []
        self.die_at, self.after = die_at, after
        self.dead = False
        self.denied: set[str] = set()
        self.undeletable: set[str] = set()
        self.hidden: set[str] = set()
        self.edited: dict[tuple[ObjectRef, str], str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def resource(self, api_version: str, kind: str) -> Resource | None:
        return KINDS.get((api_version, kind))

    def get(self, identity: ObjectRef) -> dict[str, Any] | None:
        self._served(identity)
        with self._lock:
            there = self.objects.get(identity)
            return self._seen(there) if there else None

    def copy(self) -> "FakeCluster":
        """Another cluster that looks the same."""
        made = FakeCluster()
        made.objects, made.owned = copy.deepcopy(self.objects), copy.deepcopy(self.owned)
        made._numbers = itertools.count(1000)
        return made

    def revive(self) -> None:
        """A new process begins: it writes as if nobody had died."""
        self.dead, self.die_at = False, 0

    def edit(self, identity: ObjectRef, manager: str, path: tuple[str, ...], value: Any) -> None:
        """Somebody changes a field, and so holds it alone."""
        for (one, who), paths in self.owned.items():
            if one == identity and who != manager:
                paths.pop(path, None)
        put(self.objects[identity], path, value)
        finished(self.objects[identity])
        self.objects[identity]["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.owned.setdefault((identity, manager), {})[path] = value
        self.edited[identity, manager] = UPDATE

    def _seen(self, thing: Mapping[str, Any]) -> dict[str, Any]:
        """The object as a reader gets it: with who holds which fields."""
        made = copy.deepcopy(dict(thing))
        entries = [
            {
                "manager": who,
                "operation": self.edited.get((one, who), APPLY),
                "time": THE_TIME,
                "fieldsV1": fields_v1(paths),
            }
            for (one, who), paths in self.owned.items()
            if one == ref(thing) and paths
        ]
        if entries:
            made["metadata"]["managedFields"] = entries
        return made

    def select(self, api_version: str, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        self._served(ObjectRef(api_version, kind, namespace, ""))
        wanted = dict(pair.split("=") for pair in selector.split(",") if "=" in pair)
        without = {word[1:] for word in selector.split(",") if word.startswith("!")}
        with self._lock:
            return [
                self._seen(thing)
                for identity, thing in sorted(self.objects.items())
                if (identity.api_version, identity.kind) == (api_version, kind)
                and namespace in ("", identity.namespace)
                and wanted.items() <= thing["metadata"].get("labels", {}).items()
                and not without & set(thing["metadata"].get("labels", {}))
            ]

    def apply(
        self, thing: KubernetesObject, *, dry_run: bool = False, force: bool = False, manager: str = FIELD_MANAGER
    ) -> dict[str, Any]:
        identity = ref(thing)
        self._served(identity)
        with self._lock:
            if unknown := set(thing) - TOP_KEYS:
                raise InvalidObjectError(f"{identity} is rejected: unknown field {sorted(unknown)}")
            wanted = leaves(thing)
            self._refuse_conflicts(identity, wanted, manager, force)
            before = self.objects.get(identity)
            refuse_other(thing, before)
            made = self._merged(identity, wanted, manager)
            refuse_fixed(before, made)
            self._refuse_growth(before, made)
            if dry_run:
                if before is None:
                    made["metadata"].pop("resourceVersion", None)
                return made
            self._write("apply", identity)
            if before is None or leaves(before) != leaves(made):
                made["metadata"]["resourceVersion"] = str(next(self._numbers))
                self.objects[identity] = finished(made)
            self.owned[identity, manager] = wanted
            if force:
                self._take_over(identity, wanted, manager)
            self._answer()
            return self._seen(self.objects[identity])

    def create(self, thing: KubernetesObject) -> dict[str, Any]:
        with self._lock:
            if ref(thing) in self.objects:
                raise ChangedMeanwhileError(f"{ref(thing)} already exists")
            return self._put("create", thing)

    def replace(self, thing: KubernetesObject) -> dict[str, Any]:
        with self._lock:
            there = self.objects.get(ref(thing))
            if there is None or there["metadata"]["resourceVersion"] != thing["metadata"].get("resourceVersion"):
                raise ChangedMeanwhileError(f"{ref(thing)} was modified")
            return self._put("replace", thing)

    def delete(
        self, identity: ObjectRef, uid: str, *, version: str = "", orphan: bool = False, grace_s: int | None = None
    ) -> bool:
        with self._lock:
            there = self.objects.get(identity)
            if there is None or there["metadata"]["uid"] != uid:
                return False
            if version and there["metadata"]["resourceVersion"] != version:
                raise ChangedMeanwhileError(f"{identity}: the ResourceVersion in the precondition does not match")
            if identity.kind in self.undeletable:
                raise LightragctlError(f"{identity}: a webhook refuses it")
            self._write("orphan" if orphan else "delete", identity)
            self._remove(identity)
            self._answer()
            return True

    def _remove(self, identity: ObjectRef) -> None:
        """The object goes; a namespace goes with all that is in it."""
        inside = [one for one in self.objects if identity.kind == "Namespace" and one.namespace == identity.name]
        for gone in (identity, *inside):
            del self.objects[gone]
            self.owned = {key: paths for key, paths in self.owned.items() if key[0] != gone}

    def allowed(self, access: ResourceAttributes) -> bool:
        return str(access) not in self.denied and not (access.verb == "*" and self.denied)

    def log(
        self, namespace: str, pod: str, *, tail_lines: int, follow: bool, previous: bool, since_s: int = 0
    ) -> Iterator[str]:
        return iter(())

    def _served(self, identity: ObjectRef) -> None:
        if (identity.api_version, identity.kind) not in KINDS:
            raise KindNotServedError(f"cluster fake does not serve {identity.kind}")
        if identity.kind in self.hidden:
            raise ForbiddenError(f"we may not read {identity.kind}", "request the permission")

    def _put(self, verb: str, thing: KubernetesObject) -> dict[str, Any]:
        identity = ref(thing)
        self._write(verb, identity)
        made = copy.deepcopy(dict(thing))
        there = self.objects.get(identity)
        made["metadata"] |= {
            "resourceVersion": str(next(self._numbers)),
            "uid": there["metadata"]["uid"] if there else f"uid-{next(self._numbers)}",
        }
        self.objects[identity] = made
        self._answer()
        return copy.deepcopy(made)

    def _merged(self, identity: ObjectRef, wanted: Mapping[tuple[str, ...], Any], manager: str) -> dict[str, Any]:
        """The live object with what this manager wants, without what only it wanted before."""
        made = copy.deepcopy(self.objects.get(identity)) or new_object(identity, next(self._numbers))
        others = [set(paths) for (one, who), paths in self.owned.items() if one == identity and who != manager]
        for path in set(self.owned.get((identity, manager), {})) - set(wanted) - set().union(*others):
            discard(made, path)
        for path, value in wanted.items():
            put(made, path, value)
        return made

    def _refuse_conflicts(
        self, identity: ObjectRef, wanted: Mapping[tuple[str, ...], Any], manager: str, force: bool
    ) -> None:
        there = leaves(self.objects.get(identity, {}))
        conflicts = [
            (".".join(path), who)
            for (one, who), paths in self.owned.items()
            if one == identity and who != manager
            for path in paths
            if path in wanted and there.get(path) != wanted[path]
        ]
        if conflicts and not force:
            raise FieldConflictError(f"{identity} has fields that other managers own", "", conflicts)

    def _refuse_growth(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        """Refuse a claim that would grow where its class, if it is there, does not let volumes grow."""
        if (
            before is None
            or after["kind"] != "PersistentVolumeClaim"
            or leaves(before["spec"]) == leaves(after["spec"])
        ):
            return
        name = after["spec"].get("storageClassName", "")
        storage_class = self.objects.get(ObjectRef("storage.k8s.io/v1", "StorageClass", "", name))
        if storage_class and not storage_class.get("allowVolumeExpansion"):
            message = "the storageclass that provisions the pvc must support resize"
            raise ImmutableFieldError(f"{ref(after)} is rejected: {message}")

    def _take_over(self, identity: ObjectRef, wanted: Mapping[tuple[str, ...], Any], manager: str) -> None:
        for (one, who), paths in self.owned.items():
            if one == identity and who != manager:
                for path in set(paths) & set(wanted):
                    del paths[path]

    def _write(self, verb: str, identity: ObjectRef) -> None:
        if self.dead:  # what is left of a process that is killed writes nothing more
            raise DiedError
        self.writes.append(f"{verb} {identity}")
        if len(self.writes) == self.die_at and not self.after:
            self.dead = True
            raise DiedError

    def _answer(self) -> None:
        if len(self.writes) == self.die_at:
            self.dead = True
            raise DiedError


def refuse_other(thing: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """Refuse to apply to another object than the metadata say; a version alone does not keep it from being made."""
    uid, version = (thing["metadata"].get(key, "") for key in ("uid", "resourceVersion"))
    if before is None:
        if uid:
            raise ChangedMeanwhileError(f"{ref(thing)}: uid mismatch: no existing object was found")
        return
    if version and version != before["metadata"]["resourceVersion"]:
        raise ChangedMeanwhileError(f"{ref(thing)}: the object has been modified")
    if uid and uid != before["metadata"]["uid"]:
        raise InvalidObjectError(f"{ref(thing)} is rejected: metadata.uid: field is immutable")


def refuse_fixed(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
    """Refuse a change of what cannot change, in the API server's words."""
    if before is None:
        return
    refused = [
        f"spec.{part}: field is immutable" for part in FIXED.get(after["kind"], ()) if _differ(before, after, part)
    ]
    if after["kind"] == "PersistentVolumeClaim":
        refused = _refused_of_claim(before["spec"], after["spec"])
    if after["kind"] == "PriorityClass" and before.get("value") != after.get("value"):
        refused = ["value: Forbidden: may not be changed in an update."]
    if refused:
        raise ImmutableFieldError(f"{ref(after)} is rejected: {refused[0]}")


def _differ(before: Mapping[str, Any], after: Mapping[str, Any], part: str) -> bool:
    return bool(before["spec"].get(part) != after["spec"].get(part))


def _refused_of_claim(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What the API server says to a change of a claim that is bound, as every claim here is."""
    was, wanted = (quantity(spec["resources"]["requests"]["storage"]) for spec in (before, after))
    if {**before, "resources": None} != {**after, "resources": None}:
        return ["spec: Forbidden: spec is immutable after creation except resources.requests for bound claims"]
    if wanted < was:
        return ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    return []


def fields_v1(paths: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    """The paths as managedFields has them."""
    made: dict[str, Any] = {}
    for path in paths:
        inner = made
        for step in path:
            inner = inner.setdefault(f"f:{step}", {})
    return made


def new_object(identity: ObjectRef, number: int) -> dict[str, Any]:
    """An object as it is before anything is applied to it."""
    metadata: dict[str, Any] = {"name": identity.name, "uid": f"uid-{number}", "resourceVersion": "0"}
    if identity.namespace:
        metadata["namespace"] = identity.namespace
    return {"apiVersion": identity.api_version, "kind": identity.kind, "metadata": metadata}


def finished(thing: dict[str, Any]) -> dict[str, Any]:
    """The object as its controllers leave it when all goes well."""
    if thing["kind"] in ("Deployment", "StatefulSet"):
        count = thing["spec"].get("replicas", 1)
        thing["metadata"]["generation"] = 1
        counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), count)
        revisions = {"currentRevision": "r", "updateRevision": "r", "currentReplicas": count}
        conditions = [
            {"type": "Available", "status": "True"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ]
        thing["status"] = {"observedGeneration": 1, **counts, **revisions, "conditions": conditions}
    if thing["kind"] == "ResourceQuota":
        thing["status"] = {"hard": thing["spec"]["hard"], "used": {}}
    return thing


def leaves(thing: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every value that is no map by its path, but for identity, status and what the server writes."""
    if isinstance(thing, Mapping) and (thing or not path):
        found: dict[tuple[str, ...], Any] = {}
        for key, value in thing.items():
            inner = (*path, str(key))
            server = ("resourceVersion", "uid", "generation", "name", "namespace", "managedFields")
            if inner in {("apiVersion",), ("kind",), ("status",), *(("metadata", name) for name in server)}:
                continue
            found |= leaves(value, inner)
        return found
    return {path: thing}


def put(thing: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value, making the maps on the way."""
    for step in path[:-1]:
        thing = thing.setdefault(step, {})
    thing[path[-1]] = copy.deepcopy(value)


def discard(thing: dict[str, Any], path: tuple[str, ...]) -> None:
    """Take a value away."""
    for step in path[:-1]:
        thing = thing.get(step, {})
    thing.pop(path[-1], None)
