"""Determines which volume claims belong to a release: StatefulSets create them, so they are in no inventory.

A release of another tool may have the same name in the same namespace, and a Helm chart sets the same instance label.
So a claim is ours if its component is or was part of the release and its name has the form that our StatefulSets give.
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
    """The claims with the release's label: those of the release, and others."""
    found = scope.cluster.select("v1", "PersistentVolumeClaim", scope.namespace, scope.pods)
    own = [claim for claim in found if is_own(claim, scope.release, components)]
    return own, [claim for claim in found if claim not in own]


def is_own(claim: KubernetesObject, release: str, components: Collection[str]) -> bool:
    """Whether a claim with the release's label belongs to the release."""
    manager = labels_of(claim).get(MANAGED_BY)
    if manager is not None:
        return bool(manager == MANAGER)
    component = component_of(claim)
    made = rf"[a-z]+-{re.escape(release)}-{re.escape(component)}(-[a-z-]+)?-\d+"
    return component in components and re.fullmatch(made, claim["metadata"]["name"]) is not None


def at_risk_claims(scope: Scope, claims: Iterable[KubernetesObject]) -> tuple[EndangeredClaim, ...]:
    """The claims whose data is at risk. Volumes are cluster-scoped and considered as far as permissions allow."""
    claims = list(claims)
    names = {str(spec_of(claim).get("volumeName") or "") for claim in claims} - {""}
    volumes: dict[str, KubernetesObject | None] = {}
    with suppress(ForbiddenError):
        for name in sorted(names):
            volumes[name] = scope.cluster.get(ObjectRef("v1", "PersistentVolume", "", name))
    return endangered(claims, volumes)
