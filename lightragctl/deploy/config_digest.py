"""Rolls pods when the ConfigMaps and Secrets that they read change: a digest in the pod template. Pure.

Processes read their settings and keys when they start. So a pod template has a digest of this content as an annotation,
and a change of the content rolls the pods. If others have changed the content and `up` restores it, the digest is the
same as before; a counter after it then rolls the pods that were started in between.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightragctl.core.objects import KubernetesObject, ObjectRef, ref
from lightragctl.kube.labels import CONTENT
from lightragctl.kube.objects import annotations_of, spec_of
from lightragctl.observe.pod_config import config_references, data_of, pods_of, stale_pods

_DIGEST_CHARS = 16


@dataclass(frozen=True)
class ConfigContent:
    """The ConfigMaps and Secrets that workloads read; one that cannot be read is in neither map.

    Attributes:
        after: when the workloads are applied.
        before: now.
    """

    after: Mapping[ObjectRef, KubernetesObject]
    before: Mapping[ObjectRef, KubernetesObject]


def digest(things: Iterable[KubernetesObject]) -> str:
    """A digest of the content of all of them."""
    content = {str(ref(thing)): data_of(thing) for thing in things}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]


def with_config_digest(
    workload: KubernetesObject, live: KubernetesObject | None, content: ConfigContent, pods: Sequence[KubernetesObject]
) -> tuple[dict[str, Any], str]:
    """The workload with the digest of what it reads, and why its pods are rolled; empty if the content did not change
    outside of `up`.

    Args:
        workload: to apply.
        live: the live object.
        content: what it reads, and possibly more.
        pods: in the namespace.
    """
    wanted = config_references(workload)
    if not wanted:
        return dict(workload), ""
    there = _digest_of(live)
    if not wanted <= content.after.keys():  # without permission to read it there is no new digest
        return _with_digest(workload, there) if there else dict(workload), ""
    now = digest(content.after[one] for one in sorted(wanted))
    before, _, count = there.partition(".")
    if live is None or before != now:
        return _with_digest(workload, now), ""
    if reason := _taken_back(wanted, content, pods_of(live, pods)):
        return _with_digest(workload, f"{now}.{int(count or 0) + 1}"), reason
    return _with_digest(workload, there), ""


def _taken_back(wanted: set[ObjectRef], content: ConfigContent, pods: Sequence[KubernetesObject]) -> str:
    """Why pods with the right digest may have read different content; empty if they have not."""
    there = [content.before[one] for one in sorted(wanted & content.before.keys())]
    for thing in there if pods else ():
        if data_of(thing) != data_of(content.after[ref(thing)]):
            return f"its pods may have read {ref(thing)} with changes of others"
    for name, identity in stale_pods(pods, there):
        return f"Pod/{name} started before {identity} was last modified"
    return ""


def _digest_of(live: KubernetesObject | None) -> str:
    return str(annotations_of(spec_of(live or {}).get("template", {})).get(CONTENT, ""))


def _with_digest(workload: KubernetesObject, note: str) -> dict[str, Any]:
    made = copy.deepcopy(dict(workload))
    made["spec"]["template"].setdefault("metadata", {}).setdefault("annotations", {})[CONTENT] = note
    return made
