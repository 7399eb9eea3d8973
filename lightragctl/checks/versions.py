"""What a change of image versions means: a downgrade is said, and refused where it may not read its data. Pure."""

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
    """What happens to one object: as it is, and as it will be; None where it is not there."""

    @property
    def identity(self) -> ObjectRef:
        """The object."""

    @property
    def before(self) -> KubernetesObject | None:
        """As it is."""

    @property
    def after(self) -> KubernetesObject | None:
        """As it will be."""


def version(image: str) -> tuple[str, Version] | None:
    """The image's name and the version that its tag stands for; None when the tag is no version."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    found = _VERSION.fullmatch(tag)
    return (name, (int(found[1]), int(found[2]), int(found[3] or 0))) if found and name else None


def version_changes(changes: Iterable[Changed]) -> tuple[list[str], list[str]]:
    """What the changes of versions deserve: warnings, and what may leave data that cannot be read."""
    warnings: list[str] = []
    refusals: list[str] = []
    for change in changes:
        for told, before, after in _moves(change):
            holds_data = _holds_data(change.before or {})
            if after < before and holds_data and after[:2] < before[:2]:
                refusals.append(f"{told} is a downgrade: the older version may not read what the newer one has written")
            elif after < before:
                warnings.append(f"{told} is a downgrade")
            elif holds_data and after[:2] > before[:2]:
                warnings.append(f"{told} may change its data so that no rollback leads back")
    return warnings, refusals


def _moves(change: Changed) -> Iterator[tuple[str, Version, Version]]:
    """Containers that run another version of the same image: in words, before and after."""
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
