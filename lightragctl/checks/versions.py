"""Classifies changes of image versions: a downgrade is a warning, or an error if its data may be unreadable. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from lightragctl.components import all_components
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import WORKLOAD_KINDS

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:[-+.].*)?")

Version = tuple[int, int, int]


class Changed(Protocol):
    """The change of one object: before and after; None if it does not exist."""

    @property
    def identity(self) -> ObjectRef:
        """The object."""

    @property
    def before(self) -> KubernetesObject | None:
        """The live object."""

    @property
    def after(self) -> KubernetesObject | None:
        """The object after the change."""


def version(image: str) -> tuple[str, Version] | None:
    """The image's name and the version in its tag; None if the tag is not a version."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    found = _VERSION.fullmatch(tag)
    return (name, (int(found[1]), int(found[2]), int(found[3] or 0))) if found and name else None


def version_changes(changes: Iterable[Changed]) -> tuple[list[str], list[str]]:
    """Changes of versions to warn about, and those that may leave unreadable data."""
    warnings: list[str] = []
    refusals: list[str] = []
    for change in changes:
        for text, before, after in _moves(change):
            holds_data = _holds_data(change.before or {})
            if after < before and holds_data and after[:2] < before[:2]:
                refusals.append(f"{text} is a downgrade: the older version may not read data of the newer one")
            elif after < before:
                warnings.append(f"{text} is a downgrade")
            elif holds_data and after[:2] > before[:2]:
                warnings.append(f"{text} may migrate its data, after which a rollback is impossible")
    return warnings, refusals


def _moves(change: Changed) -> Iterator[tuple[str, Version, Version]]:
    """Containers whose image changes to another version: a text, the version before and after."""
    if change.identity.kind not in WORKLOAD_KINDS or change.before is None or change.after is None:
        return
    after = dict(_images(change.after))
    for name, image in _images(change.before):
        was, will = version(image), version(after.get(name, ""))
        if was and will and was[0] == will[0] and was[1] != will[1]:
            tags = f"{image.rpartition(':')[2]} -> {after[name].rpartition(':')[2]}"
            yield f"{change.identity}: {was[0]} {tags}", was[1], will[1]


def _images(workload: KubernetesObject) -> Iterator[tuple[str, str]]:
    for container in workload["spec"]["template"]["spec"]["containers"]:
        yield container["name"], str(container.get("image", ""))


def _holds_data(workload: KubernetesObject) -> bool:
    return component_of(workload) in {one.name for one in all_components() if one.stateful}
