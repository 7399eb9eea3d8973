"""The order in which the objects of a release are applied. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from lightragctl.core.objects import KubernetesObject, order
from lightragctl.kube.labels import ROLE, component_of
from lightragctl.kube.objects import WORKLOAD_KINDS, labels_of

_FIRST, _SETTINGS, _WORKLOADS, _LAST = 0, 1, 2, 3
_LAST_KINDS = {"Ingress", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
"""Kinds that refer to pods are applied after the workloads."""


@dataclass(frozen=True)
class Stage:
    """Objects that are applied concurrently; the next stage waits until they are ready."""

    name: str
    objects: tuple[KubernetesObject, ...]


def stages(
    objects: Sequence[KubernetesObject], requires: Mapping[str, Sequence[str]], roles: Mapping[str, Sequence[str]] = {}
) -> list[Stage]:
    """The objects in stages: namespace, settings and services, workloads in order of their requirements, access.

    Args:
        objects: of the release.
        requires: by component, those that must be ready before it.
        roles: by component, the roles to apply one after the other; of others all roles are applied at once.
    """
    levels = _levels(requires)

    def rank(thing: KubernetesObject) -> tuple[int, int, int]:
        kind = thing["kind"]
        if kind == "Namespace":
            return _FIRST, 0, 0
        if kind in WORKLOAD_KINDS:
            return _WORKLOADS, levels.get(component_of(thing), 0), _step(thing, roles)
        return (_LAST, 0, 0) if kind in _LAST_KINDS else (_SETTINGS, 0, 0)

    ordered = sorted(objects, key=lambda thing: (rank(thing), order(thing)))
    return [Stage(_name(place, members := tuple(group)), members) for place, group in groupby(ordered, key=rank)]


def _step(workload: KubernetesObject, roles: Mapping[str, Sequence[str]]) -> int:
    """The position of the workload's role in the order of its component; without one, the first."""
    order_of_roles = roles.get(component_of(workload), ())
    role = labels_of(workload["spec"]["template"]).get(ROLE)
    return order_of_roles.index(role) if role in order_of_roles else 0


def _levels(requires: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The depth of each component in the graph of requirements; requirements that are not deployed are ignored."""

    def depth(name: str) -> int:
        inner = [depth(other) for other in requires[name] if other in requires]
        return 1 + max(inner, default=-1)

    return {name: depth(name) for name in requires}


def _name(place: tuple[int, int, int], members: Sequence[KubernetesObject]) -> str:
    if place[0] == _WORKLOADS:
        return ", ".join(sorted({component_of(thing) for thing in members}))
    return {_FIRST: "namespace", _SETTINGS: "settings and services", _LAST: "access"}[place[0]]
