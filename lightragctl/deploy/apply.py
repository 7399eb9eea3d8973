"""Applies a release's objects: server-side dry run, apply, generated secrets, pruning. I/O through the cluster."""

import base64
import secrets
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import Action, ForeignField
from lightragctl.deploy.changeset import Change, change, deletion
from lightragctl.deploy.conditional import apply_over, delete_seen
from lightragctl.deploy.drift import contested
from lightragctl.deploy.ownership import is_owned
from lightragctl.deploy.replacement import plan_replacement
from lightragctl.kube import labels
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.model import FIELD_MANAGER, Cluster, FieldConflictError, ImmutableFieldError
from lightragctl.kube.objects import WORKLOAD_KINDS, annotations_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.scaling import is_orphaned_replicas, is_scaled_down_manually

GENERATED_MANAGER = "lightragctl-generated"
"""Field manager of generated values. The templates' manager never owns them, so applying a template keeps them."""
_KEY_BYTES = 32
SCALED_MANAGER = "lightragctl-scaled"
"""Field manager of `spec.replicas` once a profile leaves it to an autoscaler: unowned, the field is reset to 1."""


def read_live(scope: Scope, objects: Iterable[KubernetesObject]) -> dict[ObjectRef, dict[str, Any]]:
    """The live objects of the release, of the kinds in `objects`: one list call per namespaced kind.

    Cluster-scoped objects are read one by one, except the namespace itself.
    """
    names = {ref(thing) for thing in objects}
    kinds = sorted({(one.api_version, one.kind) for one in names})
    inside = [kind for kind in kinds if (found := scope.cluster.resource(*kind)) and found.namespaced]
    outside = sorted(one for one in names if not one.namespace and one.kind != "Namespace")
    with ThreadPoolExecutor(WORKERS) as pool:
        lists = pool.map(lambda kind: scope.select(*kind), inside)
        single = [there for there in pool.map(scope.cluster.get, outside) if there]
        return {ref(thing): thing for listed in (*lists, single) for thing in listed}


def read_unlabelled(
    scope: Scope, objects: Iterable[KubernetesObject], live: Mapping[ObjectRef, dict[str, Any]]
) -> dict[ObjectRef, dict[str, Any]]:
    """The wanted objects that exist without the release's labels."""
    names = [identity for identity in map(ref, objects) if identity not in live and identity.namespace]
    with ThreadPoolExecutor(WORKERS) as pool:
        return {ref(there): there for there in pool.map(scope.cluster.get, names) if there is not None}


def plan_changes(
    scope: Scope,
    objects: Sequence[KubernetesObject],
    live: Mapping[ObjectRef, dict[str, Any]],
    *,
    namespace_is_new: bool,
) -> list[Change]:
    """The changes that applying the objects would make, by a server-side dry run of each.

    Raises:
        InvalidObjectError: the server rejects an object.
        RefusedError: an immutable field would change, and the object cannot be replaced.
    """

    def predict(thing: KubernetesObject) -> Change:
        identity = ref(thing)
        if namespace_is_new and identity.namespace == scope.namespace:
            return change(None, thing, "not checked by the server: its namespace does not exist yet")
        there = live.get(identity)
        if there is None and not identity.namespace:
            there = scope.cluster.get(identity)
        try:
            return _dry_run(scope, thing, there)
        except ImmutableFieldError as error:
            if there is None:
                raise
            return _replaced(scope, thing, there, error)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(predict, objects))


def _dry_run(scope: Scope, thing: KubernetesObject, there: KubernetesObject | None) -> Change:
    """The change that applying makes; with conflicts, the change with `force`."""
    try:
        return change(there, _with_released_replicas(scope.cluster.apply(thing, dry_run=True), there, thing))
    except FieldConflictError as error:
        predicted = scope.cluster.apply(thing, dry_run=True, force=True)
        return replace(change(there, predicted), conflicts=tuple(_conflicts(thing, there, error)), is_forced=True)


def _conflicts(
    thing: KubernetesObject, there: KubernetesObject | None, error: FieldConflictError
) -> list[ForeignField]:
    """The fields that other managers own, except `spec.replicas` left by a deleted autoscaler."""
    plain = [
        ForeignField(str(ref(thing)), path.removeprefix("."), who, "", "", None, None)
        for path, who in error.fields
        if not is_orphaned_replicas(path.removeprefix("."), who)
        and not (there and is_scaled_down_manually(thing, there, path.removeprefix(".")))
    ]
    return (contested(thing, there) if there and plain else []) or plain


def _with_released_replicas(
    predicted: dict[str, Any], there: KubernetesObject | None, wanted: KubernetesObject
) -> dict[str, Any]:
    """The prediction with the replica count that `_release_replicas` keeps."""
    replicas = released_replicas(there, wanted) if there else None
    return predicted if replicas is None else {**predicted, "spec": {**predicted["spec"], "replicas": replicas}}


def _replaced(scope: Scope, thing: KubernetesObject, there: KubernetesObject, error: ImmutableFieldError) -> Change:
    """The change of an object that is recreated, predicted by a dry run under an unused name."""
    claims = scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)
    names = {str(one["spec"].get("storageClassName") or "") for one in claims} - {""}
    classes = {name: scope.cluster.get(ObjectRef("storage.k8s.io/v1", "StorageClass", "", name)) for name in names}
    expandable = {name: bool((one or {}).get("allowVolumeExpansion")) for name, one in classes.items()}
    plan = plan_replacement(thing, there, claims, expandable, error.message)
    name = thing["metadata"]["name"]
    other = {**thing, "metadata": {**thing["metadata"], "name": f"{name[:40]}-lightragctl-plan"}}
    predicted = scope.cluster.apply(other, dry_run=True)
    after = {**predicted, "metadata": {**predicted["metadata"], "name": name}}
    return Change(ref(thing), Action.REPLACED, there, after, plan.note, replacement=plan)


def plan_deletions(scope: Scope, pruned: Iterable[ObjectRef]) -> list[Change]:
    """The changes that delete the objects, without those that are gone or belong to another owner by now."""
    return [deletion(there) for there in read_ours(scope, pruned)]


def read_ours(scope: Scope, recorded: Iterable[ObjectRef]) -> list[dict[str, Any]]:
    """The live objects of these names that still belong to the release."""
    return [there for there in map(scope.cluster.get, recorded) if there and is_owned(there, scope.release)]


def apply_objects(
    scope: Scope,
    objects: Sequence[KubernetesObject],
    seen: Mapping[ObjectRef, KubernetesObject | None],
    forced: Container[ObjectRef] = (),
    generated: Mapping[ObjectRef, Mapping[str, str]] = {},
) -> list[dict[str, Any]]:
    """Apply the objects concurrently and generate missing secret values; returns the live objects.

    Args:
        scope: of the release.
        objects: to apply.
        seen: the live objects that the plan is based on; a missing one did not exist.
        forced: objects whose conflicting fields are taken over.
        generated: values for Secrets with generated keys, from `generate`.

    Raises:
        ChangedMeanwhileError: an object has changed since it was read.
    """

    def write(thing: KubernetesObject) -> dict[str, Any]:
        there = _release_replicas(scope.cluster, thing, seen.get(ref(thing)))
        applied = apply_over(scope.cluster, thing, there, force=ref(thing) in forced)
        return fill_generated(scope.cluster, applied, generated.get(ref(thing), {}))

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(write, objects))


def released_replicas(live: KubernetesObject, wanted: KubernetesObject) -> int | None:
    """The replica count that we own and no longer set; None if we do not own it or still set it."""
    if wanted["kind"] not in WORKLOAD_KINDS or "replicas" in wanted["spec"]:
        return None
    owned = [
        one
        for one in live["metadata"].get("managedFields") or ()
        if one.get("manager") == FIELD_MANAGER and "f:replicas" in (one.get("fieldsV1") or {}).get("f:spec", {})
    ]
    return int(live["spec"]["replicas"]) if owned else None


def _release_replicas(
    cluster: Cluster, wanted: KubernetesObject, live: KubernetesObject | None
) -> KubernetesObject | None:
    """Pass ownership of `spec.replicas` to `SCALED_MANAGER` before we stop setting it; returns the live object."""
    if live is None or (replicas := released_replicas(live, wanted)) is None:
        return live
    metadata = {key: wanted["metadata"][key] for key in ("name", "namespace")}
    kept = {key: wanted[key] for key in ("apiVersion", "kind")} | {"metadata": metadata}
    return apply_over(cluster, {**kept, "spec": {"replicas": replicas}}, live, manager=SCALED_MANAGER)


def generate(secret: KubernetesObject) -> dict[str, str]:
    """Random values, base64-encoded, for the keys that the Secret's annotation lists and that have no value."""
    wanted = annotations_of(secret).get(labels.GENERATE, "") if secret["kind"] == "Secret" else ""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    missing = [name for name in names if not (secret.get("data") or {}).get(name)]
    return {name: base64.b64encode(secrets.token_urlsafe(_KEY_BYTES).encode()).decode() for name in missing}


def fill_generated(cluster: Cluster, secret: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Set a random value for each generated key of a Secret without one; returns the live object.

    Existing values stay.

    Args:
        cluster: of the Secret.
        secret: as it was applied.
        values: values to use instead of random ones.
    """
    made = {name: values.get(name, value) for name, value in generate(secret).items()}
    if not made:
        return secret
    names = {*made, *secret["metadata"]["annotations"][labels.GENERATE].replace(" ", "").split(",")}
    present = {name: value for name, value in (secret.get("data") or {}).items() if name in names}
    metadata = {key: secret["metadata"][key] for key in ("name", "namespace")}
    filled = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {**present, **made}}
    return apply_over(cluster, filled, secret, manager=GENERATED_MANAGER)


def delete_objects(scope: Scope, things: Iterable[KubernetesObject]) -> list[ObjectRef]:
    """Delete the live objects that were read, in order; returns those that existed."""
    return [ref(thing) for thing in things if delete_seen(scope.cluster, thing)]
