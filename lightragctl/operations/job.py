"""The Job that runs an operation inside the cluster, independent of the command that started it.

The Job owns its account, its Role and its network policies: they are deleted with it, by the process that follows the
operation to its end, else by the cluster ten minutes after the last pod has ended. A failed pod is replaced.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lightragctl.core import assets
from lightragctl.core.component import Plan
from lightragctl.core.errors import LockedError
from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.settings import SecretKey
from lightragctl.deploy.inventory import inventory_ref
from lightragctl.deploy.own_image import own_image
from lightragctl.deploy.render import render_folder
from lightragctl.kube.labels import OPERATION, OPERATION_OF
from lightragctl.kube.lease import lease_ref
from lightragctl.kube.model import ChangedMeanwhileError, ForbiddenError
from lightragctl.kube.objects import labels_of, spec_of, status_of
from lightragctl.kube.scope import Scope
from lightragctl.operations.cluster_store import object_name
from lightragctl.operations.kind import OperationKind, Right
from lightragctl.operations.model import AT_WORK, JobSpec, Operation

_JOB = ("batch/v1", "Job")
_LEASES = "coordination.k8s.io"
_TRIES = 20


def start_job(scope: Scope, record: Operation, kind: OperationKind, plan: Plan) -> None:
    """Ensure that a Job runs the operation; does nothing if one does.

    Raises:
        ForbiddenError: we may not create Jobs, or Roles with these rights.
    """
    there = [one for one in _jobs(scope, record.id) if not _has_ended(one)]
    if not there:
        stop_job(scope, record.id)
    name = there[0]["metadata"]["name"] if there else f"op-{record.id}-{scope.holder.run[:6]}"
    job, *others = job_objects(scope, record, name, kind, plan)
    made = there[0] if there else scope.cluster.create(job)
    if not spec_of(made).get("suspend"):
        return
    for thing in others:
        _create(scope, _owned(thing, made))
    _release_suspended(scope, ref(made))


def stop_job(scope: Scope, operation_id: str) -> None:
    """Delete the operation's Jobs; the cluster deletes what they own."""
    for job in _jobs(scope, operation_id):
        scope.cluster.delete(ref(job), job["metadata"]["uid"])


def stop_idle_jobs(scope: Scope, records: Iterable[Operation]) -> None:
    """Delete leftover Jobs of operations that need no driver, as far as permissions allow."""
    driven = {one.id for one in records if one.phase in AT_WORK}
    jobs = scope.cluster.select(*_JOB, scope.namespace, f"{OPERATION_OF}={scope.release}")
    with suppress(ForbiddenError):
        for one in jobs:
            if labels_of(one).get(OPERATION) not in driven:
                scope.cluster.delete(ref(one), one["metadata"]["uid"])


def job_objects(scope: Scope, record: Operation, name: str, kind: OperationKind, plan: Plan) -> list[KubernetesObject]:
    """The Job of this name, suspended, and what it needs, in the order in which to create them."""
    spec = record.job or JobSpec()
    arguments = ["operations", "run", record.id, "--in-cluster", "--name", record.release, "-n", scope.namespace]
    context = {
        **_identity(scope, record.id, spec.service_account or name),
        "name": name,
        "job": spec,
        "profile": plan.profile,
        "image": own_image(scope, plan.profile.image),
        "arguments": arguments,
        "secrets": {**_service_secrets(plan), **spec.secrets},
        "rules": list(map(_rule, _rights(scope, kind, record))),
    }
    objects = render_folder(assets.root() / "templates", "operations", context)
    if spec.service_account:
        objects = [one for one in objects if one["kind"] in ("Job", "NetworkPolicy")]
    return sorted(objects, key=lambda one: one["kind"] != "Job")


def administrator_objects(scope: Scope, kind: OperationKind, plan: Plan) -> list[KubernetesObject]:
    """ServiceAccount and RBAC for every operation of a kind, for an administrator where users may not create Roles."""
    account = f"{scope.release}-operation-{kind.name}"
    rules = list(map(_rule, _rights(scope, kind, None)))
    context = {**_identity(scope, kind.name, account), "name": account, "rules": rules, "profile": plan.profile}
    context |= {"job": JobSpec(), "image": "", "arguments": [], "secrets": {}}
    objects = render_folder(assets.root() / "templates", "operations", context)
    return [one for one in objects if one["kind"] not in ("Job", "NetworkPolicy")]


def obstacle(scope: Scope, record: Operation) -> str:
    """Why no pod runs the operation; empty when one does or is starting."""
    jobs = _jobs(scope, record.id)
    if not jobs:
        return f"operation {record.id} has no Job"
    for job in jobs:
        for condition in status_of(job).get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("status") == "True":
                return f"Job/{job['metadata']['name']} failed: {condition.get('message', '')}"
    pods = scope.cluster.select("v1", "Pod", scope.namespace, f"{OPERATION}={record.id}")
    return _last_failure(pods) or next(filter(None, map(_pod_obstacle, pods)), "")


def _last_failure(pods: Sequence[KubernetesObject]) -> str:
    """Why the newest of the failed pods ended; empty when none failed, or another one runs."""
    phases = {pod["metadata"]["name"]: status_of(pod).get("phase") for pod in pods}
    failed = [pod for pod in pods if phases[pod["metadata"]["name"]] == "Failed"]
    if not failed or "Running" in phases.values():
        return ""
    last = max(failed, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    containers = status_of(last).get("containerStatuses") or ()
    ended: KubernetesObject = next(
        (one["state"]["terminated"] for one in containers if (one.get("state") or {}).get("terminated")), {}
    )
    lines = str(ended.get("message") or status_of(last).get("message") or "").strip().splitlines()
    reason = next((line for line in lines if line.startswith("error")), lines[-1] if lines else "")
    status = f" with exit status {ended['exitCode']}" if "exitCode" in ended else ""
    return f"Pod/{last['metadata']['name']} failed{status}: {reason}".rstrip(": ")


def _pod_obstacle(pod: KubernetesObject) -> str:
    status = status_of(pod)
    reasons = [
        waiting
        for container in status.get("containerStatuses") or ()
        if (waiting := (container.get("state") or {}).get("waiting"))
    ]
    reasons += [one for one in status.get("conditions") or () if one.get("reason") == "Unschedulable"]
    if not reasons or status.get("phase") != "Pending":
        return ""
    told = ": ".join(filter(None, (reasons[0].get("reason"), reasons[0].get("message"))))
    return f"Pod/{pod['metadata']['name']}: {told}"


def _identity(scope: Scope, operation_id: str, account: str) -> dict[str, Any]:
    return {"release": scope.release, "namespace": scope.namespace, "id": operation_id, "account": account}


def _jobs(scope: Scope, operation_id: str) -> list[dict[str, Any]]:
    return scope.cluster.select(*_JOB, scope.namespace, f"{OPERATION}={operation_id}")


def _has_ended(job: KubernetesObject) -> bool:
    conditions = status_of(job).get("conditions") or ()
    ended = any(one.get("type") in ("Complete", "Failed") and one.get("status") == "True" for one in conditions)
    return ended or "deletionTimestamp" in job["metadata"]


def _owned(thing: KubernetesObject, job: KubernetesObject) -> KubernetesObject:
    """The object as one that the Job owns."""
    owner = {key: job[key] for key in ("apiVersion", "kind")} | {key: job["metadata"][key] for key in ("name", "uid")}
    return {**thing, "metadata": {**thing["metadata"], "ownerReferences": [owner]}}


def _release_suspended(scope: Scope, identity: ObjectRef) -> None:
    """Let the Job run; its controller writes its status at the same time."""
    for _ in range(_TRIES):
        there = scope.cluster.get(identity)
        if there is None or not spec_of(there).get("suspend"):
            return
        with suppress(ChangedMeanwhileError):
            scope.cluster.replace({**there, "spec": {**there["spec"], "suspend": False}})
            return
    raise LockedError(f"{identity} is being changed continuously by others", "run the command again")


def _create(scope: Scope, thing: KubernetesObject) -> None:
    """Create an object unless a command that died has."""
    with suppress(ChangedMeanwhileError):
        scope.cluster.create(thing)


def _rights(scope: Scope, kind: OperationKind, record: Operation | None) -> Iterable[Right]:
    """What the Job may do; without a record that of every operation."""
    own = (object_name(scope.release, record.id),) if record else ()
    lease = tuple(lease_ref(name, scope.namespace).name for name in own)
    yield Right("", ("configmaps",), ("get",), (inventory_ref(scope.release, scope.namespace).name,))
    yield Right("", ("configmaps",), ("get", "update"), own)
    yield Right(_LEASES, ("leases",), ("create",))
    yield Right(_LEASES, ("leases",), ("get", "update", "delete"), lease)
    for right in kind.rights:
        if record is None or not right.when or record.parameters.get(right.when):
            yield replace(right, names=tuple(name.format(release=scope.release) for name in right.names))


def _rule(right: Right) -> dict[str, Any]:
    names = {"resourceNames": list(right.names)} if right.names else {}
    return {"apiGroups": [right.group], "resources": list(right.resources), "verbs": list(right.verbs), **names}


def _service_secrets(plan: Plan) -> dict[str, SecretKey]:
    """The environment variables that the release's services get from Secrets."""
    found: dict[str, SecretKey] = {}
    for component in plan.components.values():
        found |= component.secrets(plan) if component.secrets else {}
    return found
