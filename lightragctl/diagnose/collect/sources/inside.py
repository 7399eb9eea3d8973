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
from lightragctl.diagnose.collect.sources.services import OURS
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import NOT_HERE
from lightragctl.diagnose.keys import INSIDE, VOLUMES
from lightragctl.diagnose.model import Inside, Reached, Volume
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import container_statuses, is_ready, is_terminating, name_of, spec_of
from lightragctl.kube.streams import read_from_pod

_RUN_S = 7.0
_AT_ONCE = 8
_PODS = 24
_TARGET = re.compile(r"[\w.-]+:\d+")
_PYTHON = r"""
import os, socket, struct, sys, threading, time
found = {}
def ask(target):
    host, _, port = target.rpartition(":")
    try:
        place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        found[target] = "timeout -"
        with socket.socket(*place[:3]) as one:
            one.settimeout(2)
            one.connect(place[4])
            rtt_us = struct.unpack_from("I", one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 68)[0]
            found[target] = f"ok {rtt_us / 1e6:.6f}"
    except socket.gaierror:
        found[target] = "name -"
    except TimeoutError:
        found[target] = "timeout -"
    except OSError as error:
        found[target] = f"{type(error).__name__} -"
print("clock", time.time())
threads = []
for word in sys.argv[1:]:
    if word.startswith("/"):
        there = os.statvfs(word)
        used = there.f_blocks - there.f_bfree
        print("disk", word, (used + there.f_bavail) * there.f_frsize, there.f_bavail * there.f_frsize)
    else:
        found[word] = "name -"
        threads.append(threading.Thread(target=ask, args=(word,), daemon=True))
        threads[-1].start()
end = time.monotonic() + 5
for thread in threads:
    thread.join(max(0, end - time.monotonic()))
for target, said in dict(found).items():
    print("to", target, said)
sys.stdout.flush()
os._exit(0)
"""
"""For images with Python. A round trip is timed by the kernel (tcpi_rtt), so that a busy machine does not raise it."""
_SHELL = r"""
try() {
  said=$(timeout 2 bash -c "exec 3<>/dev/tcp/${1%:*}/${1##*:}" 2>&1)
  case "$?$said" in 0*) how=ok ;; 124*) how=timeout ;; *refused*) how=ConnectionRefusedError ;;
    *resol*|*"not known"*) how=name ;; *) how=OSError ;; esac
  echo "to $1 $how -"
}
echo "clock $(date +%s.%N)"
for one; do case $one in
  /*) df -P -k "$one" |
      awk -v path="$one" 'NR == 2 { printf "disk %s %.0f %.0f\n", path, ($3 + $4) * 1024, $4 * 1024 }' ;;
  *) try "$one" & ;;
esac; done
wait
"""
"""For Milvus's image: bash, coreutils and awk."""
_WITH_PYTHON = (*OURS, "lightrag-server")


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
    listed = scope.cluster.select("v1", "Pod", scope.namespace, scope.pods)
    running = [one for one in listed if _runs(one) and not is_terminating(one)]
    pods = sorted(running, key=lambda one: not is_ready(one))  # of those that are not ready it tells why, where none is
    asked = list(_asked(source, pods, scope.select("v1", "Service")))[:_PODS]
    if not asked:
        facts.miss(INSIDE, "no pod runs")
        facts.miss(VOLUMES, "no pod runs")
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


def _runs(pod: KubernetesObject) -> bool:
    return any("running" in (one.get("state") or {}) for one in container_statuses(pod))


def _asked(source: Source, pods: Sequence[KubernetesObject], services: Sequence[KubernetesObject]) -> Iterator[Asked]:
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
    words = (*asked.paths, *asked.targets)
    has_python = component_of(asked.pod) in _WITH_PYTHON
    command = ["python", "-I", "-c", _PYTHON, *words] if has_python else ["bash", "-c", _SHELL, "probe", *words]
    begin = time.time()
    try:
        text = read_from_pod(runtime.client, runtime.namespace, name_of(asked.pod), command, _RUN_S)
    except LightragctlError as error:
        return error.message
    return understood(asked, text.splitlines(), begin, time.time())


def understood(asked: Asked, lines: Sequence[str], begin: float, end: float) -> tuple[Inside, list[Volume]]:
    """The output of the script; its clock is read between `begin` and `end` of this machine's."""
    component, name = component_of(asked.pod), name_of(asked.pod)
    skew_s, reached, volumes = 0.0, list[Reached](), list[Volume]()
    for kind, *words in (line.split() for line in lines if line.strip()):
        if kind == "clock":
            at = float(words[0])
            skew_s = at - min(max(at, begin), end)
        elif kind == "disk":
            volumes.append(Volume(component, name, words[0], int(words[1]), int(words[2])))
        elif kind == "to":
            target, how, took_s = words
            error = "" if how == "ok" else _ERRORS.get(how, how)
            reached.append(Reached(target, asked.targets.get(target, ""), error, _number(took_s)))
    node = str(spec_of(asked.pod).get("nodeName") or "")
    return Inside(component, name, node, round(skew_s, 3), reached), volumes


_ERRORS = {"ConnectionRefusedError": "refused"}


def _number(text: str) -> float:
    return 0.0 if text == "-" else float(text)


COLLECTORS = (Collector("inside", (INSIDE, VOLUMES), read_inside, Runtime.KUBERNETES, 15.0),)
