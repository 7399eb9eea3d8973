"""Writes a release's objects: dry run, apply by stages, generated secrets, prune. All I/O goes through the cluster."""

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
from lightragctl.deploy.drift import contested, is_orphaned_replicas, is_scaled_down_by_hand
from lightragctl.deploy.ownership import is_owned
from lightragctl.deploy.replacement import plan_replacement
from lightragctl.kube import labels
from lightragctl.kube.calls import WORKERS
from lightragctl.kube.model import FIELD_MANAGER, Cluster, FieldConflictError, ImmutableFieldError
from lightragctl.kube.objects import WORKLOAD_KINDS, annotations_of
from lightragctl.kube.scope import Scope

GENERATED_MANAGER = "lightragctl-generated"
"""Field manager of generated values. The templates' manager never owns them, so applying a template keeps them."""
_KEY_BYTES = 32
SCALED_MANAGER = "lightragctl-scaled"
"""Field manager of `spec.replicas` once a profile leaves it to an autoscaler: unowned, the field is reset to 1."""


def read_live(scope: Scope, objects: Iterable[KubernetesObject]) -> dict[ObjectRef, dict[str, Any]]:
    """The live objects of the release, of the kinds that `objects` has: one call for each kind in the namespace.

    Those of the whole cluster are read one by one, but for the namespace itself.
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
    """Those of the wanted objects that exist without the release's labels."""
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
    """What applying the objects would do, by the server's own dry run of each.

    Raises:
        InvalidObjectError: the server refuses an object.
        RefusedError: a field would change that cannot, and there is no plan for it.
    """

    def predict(thing: KubernetesObject) -> Change:
        identity = ref(thing)
        if namespace_is_new and identity.namespace == scope.namespace:
            return change(None, thing, "its namespace is new, so the server could not check it")
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
    """What applying would do; where others hold fields, what taking these over would do."""
    try:
        return change(there, _with_released_replicas(scope.cluster.apply(thing, dry_run=True), there, thing))
    except FieldConflictError as error:
        predicted = scope.cluster.apply(thing, dry_run=True, force=True)
        return replace(change(there, predicted), conflicts=tuple(_conflicts(thing, there, error)), is_forced=True)


def _conflicts(
    thing: KubernetesObject, there: KubernetesObject | None, error: FieldConflictError
) -> list[ForeignField]:
    """The fields that others hold, but for what an autoscaler that is gone has left."""
    plain = [
        ForeignField(str(ref(thing)), path.removeprefix("."), who, "", "", None, None)
        for path, who in error.fields
        if not is_orphaned_replicas(path.removeprefix("."), who)
        and not (there and is_scaled_down_by_hand(thing, there, path.removeprefix(".")))
    ]
    return (contested(thing, there) if there and plain else []) or plain


def _with_released_replicas(
    predicted: dict[str, Any], there: KubernetesObject | None, wanted: KubernetesObject
) -> dict[str, Any]:
    """The prediction with the number of pods that `_release_replicas` will keep."""
    replicas = released_replicas(there, wanted) if there else None
    return predicted if replicas is None else {**predicted, "spec": {**predicted["spec"], "replicas": replicas}}


def _replaced(scope: Scope, thing: KubernetesObject, there: KubernetesObject, error: ImmutableFieldError) -> Change:
    """The change of an object that is made anew; the server is asked what it would be under a name that is free."""
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
    """What deleting the objects would do; those that are gone, or somebody else's by now, are left out."""
    return [deletion(there) for there in read_ours(scope, pruned)]


def read_ours(scope: Scope, recorded: Iterable[ObjectRef]) -> list[dict[str, Any]]:
    """The live objects of these names that are still the release's."""
    return [there for there in map(scope.cluster.get, recorded) if there and is_owned(there, scope.release)]


def apply_objects(
    scope: Scope,
    objects: Sequence[KubernetesObject],
    seen: Mapping[ObjectRef, KubernetesObject | None],
    forced: Container[ObjectRef] = (),
    generated: Mapping[ObjectRef, Mapping[str, str]] = {},
) -> list[dict[str, Any]]:
    """Apply the objects at once, and give generated secrets their values; the objects as they are now.

    Args:
        scope: of the release.
        objects: to apply.
        seen: the live objects that this was decided on; those that it lacks were not there.
        forced: those whose fields are taken over from others.
        generated: values for Secrets that ask for them, from `generate`.

    Raises:
        ChangedMeanwhileError: one is not what was seen any more.
    """

    def write(thing: KubernetesObject) -> dict[str, Any]:
        there = _release_replicas(scope.cluster, thing, seen.get(ref(thing)))
        applied = apply_over(scope.cluster, thing, there, force=ref(thing) in forced)
        return fill_generated(scope.cluster, applied, generated.get(ref(thing), {}))

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(write, objects))


def released_replicas(live: KubernetesObject, wanted: KubernetesObject) -> int | None:
    """How many pods a workload has that we have set so far and no longer say; None when that is not so."""
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
    """Let another manager own the number of pods before we stop saying it; the live object after that."""
    if live is None or (replicas := released_replicas(live, wanted)) is None:
        return live
    metadata = {key: wanted["metadata"][key] for key in ("name", "namespace")}
    kept = {key: wanted[key] for key in ("apiVersion", "kind")} | {"metadata": metadata}
    return apply_over(cluster, {**kept, "spec": {"replicas": replicas}}, live, manager=SCALED_MANAGER)


def generate(secret: KubernetesObject) -> dict[str, str]:
    """Random values, as a Secret holds them, for each key that the Secret asks for and has no value of."""
    wanted = annotations_of(secret).get(labels.GENERATE, "") if secret["kind"] == "Secret" else ""
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    missing = [name for name in names if not (secret.get("data") or {}).get(name)]
    return {name: base64.b64encode(secrets.token_urlsafe(_KEY_BYTES).encode()).decode() for name in missing}


def fill_generated(cluster: Cluster, secret: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    """Give a Secret that asks for it a random value for each key that has none; values that are there stay.

    The object as it is then.

    Args:
        cluster: where it is.
        secret: as it was applied.
        values: what to take where it is given.
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
    """Delete exactly the live objects that were read, one after the other; those that were still there."""
    return [ref(thing) for thing in things if delete_seen(scope.cluster, thing)]
