"""Length limits of object names, with the suffixes that Kubernetes adds. Pure."""

from collections.abc import Iterable, Iterator

from lightragctl.core.errors import UsageError
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.kube.objects import labels_of, spec_of

_LABEL = 63
"""Maximum length of a label value and of a DNS label."""
_LONGEST = {
    "StatefulSet": 52,  # its pods carry the label controller-revision-hash: its name, a dash and ten characters
    "CronJob": 52,  # its Jobs are named after it and the minute
    "Job": _LABEL,  # its pods carry the label job-name
    "Service": _LABEL,
    "Namespace": _LABEL,
}
_OTHERS = 253
"""Every other kind."""


def check_names(objects: Iterable[KubernetesObject], release: str) -> None:
    """Refuse a release name that leads to object names that are too long, with the suffixes that Kubernetes adds.

    Raises:
        UsageError: gives the maximum length of a release name in this profile.
    """
    found = [one for thing in objects for one in _too_long(thing)]
    if not found:
        return
    most = len(release) - max(excess for excess, _ in found)
    lines = "\n".join(f"    {text}" for _, text in found)
    if most < 1:
        raise UsageError(f"these names are too long for any release name:\n{lines}", "shorten -n NAMESPACE")
    message = f"release name '{release}' is {len(release) - most} characters too long for this profile:\n{lines}"
    raise UsageError(message, f"use at most {most} characters: --name {release[:most].rstrip('-') or 'NAME'}")


def _too_long(thing: KubernetesObject) -> Iterator[tuple[int, str]]:
    """Names and label values of the object that are too long: the excess in characters, and a text."""
    identity = ref(thing)
    longest = _LONGEST.get(identity.kind, _OTHERS)
    if (excess := len(identity.name) - longest) > 0:
        yield excess, f"{identity} has {len(identity.name)} characters, at most {longest} are allowed"
    for key, value in _labels(thing):
        if (excess := len(value) - _LABEL) > 0:
            yield excess, f"{identity}: label {key} has {len(value)} characters, at most {_LABEL} are allowed"


def _labels(thing: KubernetesObject) -> Iterator[tuple[str, str]]:
    for labeled in (thing, spec_of(thing).get("template") or {}):
        yield from ((key, str(value)) for key, value in labels_of(labeled).items())
