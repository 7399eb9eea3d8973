"""What a change of image versions means for a release, by the compatibility matrix of its components. Pure."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from lightragctl.components import all_components
from lightragctl.core.objects import KubernetesObject, ObjectRef
from lightragctl.core.versions import HopKind, Verdict, Version, judge_change, version_of
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import WORKLOAD_KINDS


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
    found = version_of(tag)
    return (name, found) if found and name else None


def version_changes(changes: Iterable[Changed]) -> tuple[list[str], list[str]]:
    """What the changes of versions mean: warnings, and changes that the compatibility matrix refuses."""
    warnings: list[str] = []
    refusals: list[str] = []
    hops = {one.name: one.upgrades for one in all_components()}
    for change in changes:
        for moved, before, after in _moves(change):
            verdict = judge_change(hops.get(component_of(change.before or {}) or "", ()), before, after)
            if verdict.kind is HopKind.REFUSED:
                refusals.append(f"{moved} {_refusal(verdict)}")
            elif verdict.downgrade:
                warnings.append(f"{moved} is a downgrade")
            elif verdict.kind is HopKind.ONE_WAY:
                note = f" ({verdict.reason})" if verdict.reason else ""
                warnings.append(f"{moved} cannot be rolled back by image, only by restoring a backup{note}")
    return warnings, refusals


def _refusal(verdict: Verdict) -> str:
    if verdict.downgrade:
        return f"is a downgrade: {verdict.reason}"
    through = f"; upgrade in steps: {' -> '.join(verdict.path)}" if verdict.path else ""
    return f"is no supported upgrade: {verdict.reason}{through}"


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
