"""What pods see: whether the names and Services that they need can be reached, their clock, space on their volumes.

Runs one short command in one pod of each component, and in each pod with a claim.
"""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lightragctl.core.errors import LightragctlError
from lightragctl.core.objects import KubernetesObject
from lightragctl.core.profile import Runtime
from lightragctl.deploy.reachability import refuse_forbidden
from lightragctl.deploy.runtime import KubernetesRuntime
from lightragctl.diagnose.collect.source import Collector, Source
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import NOT_HERE
from lightragctl.diagnose.keys import INSIDE, VOLUMES
from lightragctl.diagnose.model import Inside, Reached, Volume
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import is_ready, is_terminating, name_of, spec_of
from lightragctl.kube.streams import read_from_pod

_RUN_S = 7.0
_AT_ONCE = 8
_PODS = 24
_TARGET = re.compile(r"[\w.-]+:\d+")
_SCRIPT = r"""
try() {
  for at in 1 2; do
    begin=$(date +%s%N)
    said=$(timeout 2 bash -c "exec 3<>/dev/tcp/${1%:*}/${1##*:}" 2>&1); status=$?
    echo "to $1 $status $(( $(date +%s%N) - begin )) $said" | tr '\n' ' '; echo
    [ $status = 0 ] || break
  done
}
echo "clock $(date +%s%N)"
for one; do case $one in
  /*) df -P -k "$one" | awk -v path="$one" 'NR == 2 { print "disk", path, $2, $4 }' ;;
  *) try "$one" & ;;
esac; done
wait
"""
"""Needs bash, coreutils and awk, which the images of our services and of Milvus have."""


@dataclass(frozen=True)
class Asked:
    """A pod, what it is to reach by the component whose it is, and where its claims are mounted."""

    pod: KubernetesObject
    targets: dict[str, str] = field(default_factory=dict)
    paths: tuple[str, ...] = ()


def read_inside(source: Source, facts: Facts) -> None:
    """Put `INSIDE` and `VOLUMES`, of the pods whose image has a shell."""
    runtime, scope = source.release.runtime, source.scope
    assert isinstance(runtime, KubernetesRuntime)
    refuse_forbidden(scope, "exec")
    pods = [one for one in scope.cluster.select("v1", "Pod", scope.namespace, scope.pods) if is_ready(one) and not is_terminating(one)]
    asked = list(_asked(source, pods, scope.select("v1", "Service")))[:_PODS]
    if not asked:
        facts.miss(INSIDE, "no pod is ready")
        facts.miss(VOLUMES, "no pod is ready")
        return
    with ThreadPoolExecutor(min(len(asked), _AT_ONCE)) as pool:
        found = list(pool.map(lambda one: _run(source, runtime, one), asked))
    told = [one for one in found if not isinstance(one, str)]
    if not told:
        raise LightragctlError(next(one for one in found if isinstance(one, str)))
    facts.put(INSIDE, [inside for inside, _ in told])
    volumes = [volume for _, of_pod in told for volume in of_pod]
    if volumes or not any(one.paths for one in asked):
        facts.put(VOLUMES, volumes)
    facts.miss(VOLUMES, next((one for one in found if isinstance(one, str)), f"no volumes: {NOT_HERE}"))


def _asked(
    source: Source, pods: Sequence[KubernetesObject], services: Sequence[KubernetesObject]
) -> Iterator[Asked]:
    parts, seen = source.deployed.components, set[str]()
    for pod in pods:
        name, paths = component_of(pod), tuple(_paths(pod))
        part = parts.get(name)
        targets = {} if part is None or name in seen else _targets(source, name, services)
        seen.add(name)
        if targets or paths:
            yield Asked(pod, targets, paths)


def _targets(source: Source, component: str, services: Sequence[KubernetesObject]) -> dict[str, str]:
    """What the component connects to: the Services of those that it needs; Milvus also its bucket."""
    part = source.deployed.components[component]
    needed = {*part.requires, *part.calls} & source.deployed.components.keys()
    found = {
        f"{name_of(one)}:{spec_of(one)['ports'][0]['port']}": component_of(one)
        for one in services
        if component_of(one) in needed and spec_of(one).get("ports")
    }
    if component == "vector-engine" and (record := source.record):
        engine = (record.profile.get("components") or {}).get("vector-engine") or {}
        endpoint = str((engine.get("object_store") or {}).get("endpoint") or "")
        found |= {endpoint: ""} if endpoint else {}
    return {target: name for target, name in found.items() if _TARGET.fullmatch(target)}


def _paths(pod: KubernetesObject) -> Iterator[str]:
    """Where the first container mounts claims."""
    claims = {one["name"] for one in spec_of(pod).get("volumes") or () if one.get("persistentVolumeClaim")}
    for mount in (spec_of(pod).get("containers") or [{}])[0].get("volumeMounts") or ():
        if mount.get("name") in claims:
            yield str(mount["mountPath"])


def _run(source: Source, runtime: KubernetesRuntime, asked: Asked) -> tuple[Inside, list[Volume]] | str:
    """What one pod told, or why it told nothing."""
    command = ["bash", "-c", _SCRIPT, "probe", *asked.paths, *asked.targets]
    begin = time.time()
    try:
        text = read_from_pod(runtime.client, runtime.namespace, name_of(asked.pod), command, _RUN_S)
    except LightragctlError as error:
        return error.message
    return understood(asked, text.splitlines(), begin, time.time())


def understood(asked: Asked, lines: Sequence[str], begin: float, end: float) -> tuple[Inside, list[Volume]]:
    """The output of the script; its clock is read between `begin` and `end` of this machine's."""
    component, name = component_of(asked.pod), name_of(asked.pod)
    skew_s, reached, volumes = 0.0, dict[str, Reached](), []
    for words in (line.split() for line in lines):
        if words[:1] == ["clock"]:
            at = int(words[1]) / 1e9
            skew_s = at - min(max(at, begin), end)
        elif words[:1] == ["disk"]:
            volumes.append(Volume(component, name, words[1], int(words[2]) * 1024, int(words[3]) * 1024))
        elif words[:1] == ["to"]:
            one = Reached(words[1], asked.targets.get(words[1], ""), _error(words), int(words[3]) / 1e9)
            before = reached.get(one.target)
            reached[one.target] = one if before is None or before.error or one.took_s < before.took_s else before
    node = str(spec_of(asked.pod).get("nodeName") or "")
    return Inside(component, name, node, round(skew_s, 3), list(reached.values())), volumes


def _error(words: Sequence[str]) -> str:
    said = " ".join(words[4:])
    if words[2] == "0":
        return ""
    if words[2] == "124":
        return "timeout"
    if "name resolution" in said or "Name or service" in said or "resolve" in said:
        return "name"
    return "refused" if "refused" in said else said.rpartition(": ")[2][:40] or "failed"


COLLECTORS = (Collector("inside", (INSIDE, VOLUMES), read_inside, Runtime.KUBERNETES, 15.0),)
