"""How long the names of objects may be, with what Kubernetes adds to them. Pure."""

from collections.abc import Iterable, Iterator

from lightragctl.core.errors import UsageError
from lightragctl.core.objects import KubernetesObject, ref
from lightragctl.kube.objects import labels_of, spec_of

_LABEL = 63
"""Most characters of a label's value and of a DNS label."""
_LONGEST = {
    "StatefulSet": 52,  # its pods carry the label controller-revision-hash: its name, a dash and ten characters
    "CronJob": 52,  # its Jobs are named after it and the minute
    "Job": _LABEL,  # its pods carry the label job-name
    "Service": _LABEL,
    "Namespace": _LABEL,
}
_OTHERS = 253
"""Of every other kind."""


def check_names(objects: Iterable[KubernetesObject], release: str) -> None:
    """Refuse a release whose name makes names that Kubernetes would not take, once it adds its own to them.

    Raises:
        UsageError: says how long a name this profile lets a release have.
    """
    found = [one for thing in objects for one in _too_long(thing)]
    if not found:
        return
    most = len(release) - max(excess for excess, _ in found)
    lines = "\n".join(f"    {told}" for _, told in found)
    if most < 1:
        raise UsageError(f"these names are too long, whatever the release is named:\n{lines}", "shorten -n NAMESPACE")
    message = f"'{release}' is too long a name for a release of this profile, by {len(release) - most}:\n{lines}"
    raise UsageError(message, f"at most {most} characters fit: --name {release[:most].rstrip('-') or 'NAME'}")


def _too_long(thing: KubernetesObject) -> Iterator[tuple[int, str]]:
    """What is too long about the object: by how many characters, and in words."""
    identity = ref(thing)
    longest = _LONGEST.get(identity.kind, _OTHERS)
    if (excess := len(identity.name) - longest) > 0:
        yield excess, f"{identity} has {len(identity.name)} characters, and {longest} are allowed"
    for key, value in _labels(thing):
        if (excess := len(value) - _LABEL) > 0:
            yield excess, f"{identity}: label {key} has {len(value)} characters, and {_LABEL} are allowed"


def _labels(thing: KubernetesObject) -> Iterator[tuple[str, str]]:
    for labeled in (thing, spec_of(thing).get("template") or {}):
        yield from ((key, str(value)) for key, value in labels_of(labeled).items())
