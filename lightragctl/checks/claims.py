"""Which volume claims are a release's: StatefulSets make them, so no inventory names them and none has our label.

A release of another tool may have the same name in the same namespace: a chart gives its claims the same label of an
instance. So a claim is ours when its component is one that the release has or had, and its name is as ours are.
"""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.labels import MANAGED_BY, MANAGER, component_of
from lightragctl.kube.model import ForbiddenError
from lightragctl.kube.objects import labels_of, spec_of
from lightragctl.kube.scope import Scope
from lightragctl.observe.volumes import EndangeredClaim, endangered


def split_claims(scope: Scope, components: Collection[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The claims with the release's label: those that are its own, and those that are not."""
    found = scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)
    own = [claim for claim in found if is_own(claim, scope.release, components)]
    return own, [claim for claim in found if claim not in own]


def is_own(claim: KubernetesObject, release: str, components: Collection[str]) -> bool:
    """Whether a claim with the release's label is the release's own."""
    manager = labels_of(claim).get(MANAGED_BY)
    if manager is not None:
        return bool(manager == MANAGER)
    component = component_of(claim)
    made = rf"[a-z]+-{re.escape(release)}-{re.escape(component)}(-[a-z-]+)?-\d+"
    return component in components and re.fullmatch(made, claim["metadata"]["name"]) is not None


def at_risk_claims(scope: Scope, claims: Iterable[KubernetesObject]) -> tuple[EndangeredClaim, ...]:
    """The claims whose data will not last; of volumes only what may be read, as they are the whole cluster's."""
    claims = list(claims)
    names = {str(spec_of(claim).get("volumeName") or "") for claim in claims} - {""}
    volumes: dict[str, KubernetesObject | None] = {}
    with suppress(ForbiddenError):
        for name in sorted(names):
            volumes[name] = scope.cluster.get(ObjectRef("v1", "PersistentVolume", "", name))
    return endangered(claims, volumes)
