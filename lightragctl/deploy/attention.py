"""What threatens a release or its data although its pods may run: read from the cluster for `status`."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.core.runtime import Revision
from lightragctl.deploy.apply import Scope
from lightragctl.deploy.claims import at_risk, known_components, split_claims
from lightragctl.deploy.content import outdated, pods_of, references
from lightragctl.deploy.danger import find_lacking
from lightragctl.deploy.preflight import WORKERS
from lightragctl.deploy.record import Phase, Record
from lightragctl.deploy.view import View
from lightragctl.kube.labels import GENERATE
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import annotations_of


def read_warnings(scope: Scope, record: Record, last: Revision | None, view: View) -> tuple[str, ...]:
    """What a person must look at, most dangerous first; what we may not read is left out.

    Args:
        scope: of the release.
        record: of the release.
        last: the revision that was applied last.
        view: its workloads and pods.
    """
    own, _ = split_claims(scope, known_components(scope, record))
    found = [*_ending_namespace(scope), *map(str, at_risk(scope, own))]
    found += [f"{one} is gone, and the data with it" for one in find_lacking(scope).claims]
    workloads = [thing for things in view.workloads.values() for thing in things]
    wanted = set().union(*map(references, workloads)) | {ref(one) for one in _secrets(last)}
    there = _read(scope, wanted)
    if record.phase is Phase.APPLIED:
        found += missing_content(workloads, last.objects if last else (), there)
        found += old_content(workloads, view.pods, there)
    return tuple(dict.fromkeys(found))


def _secrets(last: Revision | None) -> list[KubernetesObject]:
    return [thing for thing in (last.objects if last else ()) if thing["kind"] == "Secret"]


def _ending_namespace(scope: Scope) -> list[str]:
    try:
        there = scope.cluster.get(ObjectRef("v1", "Namespace", "", scope.namespace)) or {}
    except ForbiddenError:
        return []
    since = (there.get("metadata") or {}).get("deletionTimestamp")
    return [f"Namespace/{scope.namespace} is being deleted since {since}, and all data in it"] if since else []


def _read(scope: Scope, wanted: Iterable[ObjectRef]) -> dict[ObjectRef, KubernetesObject | None]:
    """The objects that we may read; None is one that is gone."""

    def read(identity: ObjectRef) -> tuple[ObjectRef, KubernetesObject | None] | None:
        try:
            return identity, scope.cluster.get(identity)
        except ForbiddenError:
            return None

    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(filter(None, pool.map(read, sorted(wanted))))


def missing_content(
    workloads: Sequence[KubernetesObject],
    applied: Sequence[KubernetesObject],
    there: Mapping[ObjectRef, KubernetesObject | None],
) -> list[str]:
    """Secrets and ConfigMaps that are gone, or have lost a generated key. Pure."""
    readers: dict[ObjectRef, list[str]] = {one: [] for one, thing in there.items() if thing is None}
    for workload in workloads:
        for identity in references(workload) & readers.keys():
            readers[identity].append(str(ref(workload)))
    found = [_told_missing(identity, names) for identity, names in sorted(readers.items())]
    for secret in applied:
        live = there.get(ref(secret))
        keys = str(annotations_of(secret).get(GENERATE, "")).replace(" ", "").split(",")
        lost = [key for key in keys if key and live is not None and key not in (live.get("data") or {})]
        if lost:
            found.append(f"{ref(secret)} has lost {', '.join(lost)}; make it again: lightragctl up")
    return found


def _told_missing(identity: ObjectRef, readers: Sequence[str]) -> str:
    by = f", and is read by {', '.join(sorted(readers))}" if readers else ""
    return f"{identity} is gone{by}: pods that start again will lack it; make it again: lightragctl up"


def old_content(
    workloads: Sequence[KubernetesObject],
    pods: Sequence[KubernetesObject],
    there: Mapping[ObjectRef, KubernetesObject | None],
) -> list[str]:
    """Pods that were started before what they read was last written. Pure."""
    found = []
    for workload in workloads:
        content = [thing for one in sorted(references(workload)) if (thing := there.get(one)) is not None]
        found += [
            f"Pod/{name} was started before {identity} was last written; start it again: lightragctl up"
            for name, identity in outdated(pods_of(workload, pods), content)
        ]
    return found
