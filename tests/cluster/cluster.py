"""Starts, finds and stops a cluster. What runs decides, not what a file says: a start that was killed is cleaned up."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster import machines, network, parts, pki
from tests.cluster.archive import import_into
from tests.cluster.binaries import Programs, ensure_packages, programs
from tests.cluster.commands import run, together, wait_until, works
from tests.cluster.images import basic_images
from tests.cluster.kept import ClusterError, cache_folder, locked, say, timed
from tests.cluster.machines import Machine
from tests.cluster.network import CONTROL_PLANE, Plan
from tests.cluster.parts import Layout

START_S = 90.0
"""Each step of a start takes 2 to 10 s on two idle cores."""


@dataclass(frozen=True)
class Cluster:
    """A cluster that was started."""

    folder: Path
    plan: Plan

    @property
    def kubeconfig(self) -> Path:
        """For people and tests."""
        return self.folder / "pki" / "admin.conf"

    @property
    def sockets(self) -> list[Path]:
        """The containerd of each node."""
        return [self.folder / f"node-{number}" / "containerd.sock" for number in self.plan.numbers]

    def env(self, found: Programs) -> dict[str, str]:
        """An environment in which kubectl is the right one and asks this cluster."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": found.path}


def clusters_folder() -> Path:
    """Where the state of clusters is."""
    return cache_folder() / "clusters"


def require_machine() -> None:
    """Refuses where it cannot work."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise ClusterError("the test cluster needs Linux on x86-64")
    if os.geteuid() != 0:
        raise ClusterError("the test cluster needs root: it makes namespaces and runs containerd")


def find(name: str) -> Cluster | None:
    """The cluster of this name as it was noted, running or not."""
    noted = clusters_folder() / name / "cluster.json"
    try:
        return Cluster(noted.parent, Plan(**json.loads(noted.read_text())))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def why_down(cluster: Cluster | None) -> str:
    """Why a cluster does not work, or nothing."""
    if cluster is None:
        return "it was not started"
    if not (cluster.folder / "running").exists():
        return "its start did not come to an end"
    if not machines.processes_of(cluster.folder):
        return "its processes are gone"
    return not_ready_nodes(cluster, programs())


def up(name: str, nodes: int) -> Cluster:
    """A running cluster: the one there is, or a new one."""
    require_machine()
    if not 1 <= nodes <= network.MAX_NODES or not name.isalnum() or len(name) > 20:
        raise ClusterError(f"1 to {network.MAX_NODES} nodes, and a name of at most 20 letters and digits, please")
    ensure_packages()
    found = programs()
    basic_images()  # what takes minutes the first time is made before anything waits for it
    with locked(cache_folder() / "locks" / f"cluster-{name}", wait=False):
        there = find(name)
        if there is not None and not (reason := why_down(there)):
            if there.plan.nodes != nodes:
                raise ClusterError(f"{name} runs with {there.plan.nodes} nodes: stop it before you change that")
            say(f"{name} is running already")
            return there
        if there is not None or (clusters_folder() / name).exists():
            say(f"cleaning up what is left of {name}: {reason if there else 'its start did not come to an end'}")
            clean(name)
        try:
            return start(name, nodes, found)
        except BaseException:  # an interrupt too: what was begun is taken down, and the cause goes on
            keep_logs(name)
            clean(name)
            raise


def keep_logs(name: str) -> None:
    """The logs of a start that failed outlive it, until the next one fails."""
    logs, target = clusters_folder() / name / "logs", cache_folder() / "failed-logs" / name
    if logs.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(logs, target)
        say(f"the logs are kept in {target}")


def start(name: str, nodes: int, found: Programs) -> Cluster:
    """Everything from nothing; returns when nodes and DNS answer."""
    plan = claim(name, nodes)
    folder = clusters_folder() / name
    cluster = Cluster(folder, plan)
    for each in ("logs", *plan.machines):
        (folder / each).mkdir()
    with timed("namespaces and certificates"):
        network.build(plan)
        network.plug_host(plan)
        layout = Layout(folder, plan, pki.make(folder / "pki", plan), found)
        all_machines = {each: Machine(folder, each, plan.namespace(each)) for each in plan.machines}
        together([each.boot for each in all_machines.values()])
    with timed("API server and containerd"):
        start_foundation(layout, all_machines)
    with timed("nodes, DNS and add-ons"):
        start_rest(layout, all_machines)
        wait_until("nodes are ready", lambda: failures(all_machines) or not_ready_nodes(cluster, found), START_S)
        wait_until("DNS answers", lambda: failures(all_machines) or dns_silent(plan), START_S)
    (folder / "running").touch()
    return cluster


def claim(name: str, nodes: int) -> Plan:
    """Takes an address range, and notes it before anything is made."""
    with locked(cache_folder() / "locks" / "slots"):
        taken = {other.plan.slot for other in map(find, names()) if other}
        plan = Plan(name, network.free_slot(taken), nodes)
        folder = clusters_folder() / name
        folder.mkdir(parents=True)
        (folder / "cluster.json").write_text(json.dumps(asdict(plan)))
    return plan


def start_foundation(layout: Layout, all_machines: dict[str, Machine]) -> None:
    """etcd and the API server; meanwhile each node's containerd gets the images that pods cannot do without."""
    control = all_machines[CONTROL_PLANE]
    control.start("etcd", *parts.etcd(layout))
    control.start("kube-apiserver", *parts.api_server(layout))
    for number in layout.plan.numbers:
        machines.make_cgroup(layout.cgroup(number))
        all_machines[f"node-{number}"].start("containerd", *parts.containerd(layout, number))
    images = basic_images()

    def fill(number: int) -> None:
        node, socket = all_machines[f"node-{number}"], layout.socket(number)
        asked = ("ctr", "--address", str(socket), "version")
        wait_until(f"containerd of node-{number}", lambda: node.failed("containerd") or works(*asked), START_S)
        import_into(socket, images)

    together([partial(fill, number) for number in layout.plan.numbers])
    asked = (layout.programs["kubectl"], f"--kubeconfig={layout.keys.config('admin')}", "get", "--raw", "/readyz")
    wait_until("the API server is ready", lambda: failures(all_machines) or works(*asked), START_S)


def start_rest(layout: Layout, all_machines: dict[str, Machine]) -> None:
    """What needs the API server."""
    control = all_machines[CONTROL_PLANE]
    control.start("controllers", *parts.controllers(layout))
    control.start("scheduler", *parts.scheduler(layout))
    control.start("coredns", *parts.coredns(layout))
    for number in layout.plan.numbers:
        node = all_machines[f"node-{number}"]
        node.start("kubelet", *parts.kubelet(layout, number))
        node.start("kube-proxy", *parts.kube_proxy(layout, number))
    text = (Path(__file__).parent / "addons.yaml").read_text()
    text = text.replace("CONTROL_PLANE", layout.plan.control_plane).replace("METRICS_PORT", str(parts.METRICS_PORT))
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    run(layout.programs["kubectl"], f"--kubeconfig={layout.keys.config('admin')}", "apply", "-f", "-", stdin=text)
    control.start("metrics-server", *parts.metrics_server(layout))
    control.start("local-path", *parts.local_path(layout))


def failures(all_machines: dict[str, Machine]) -> str:
    """Raises when a part has ended: a wait need not go on then."""
    for machine in all_machines.values():
        for part in machine.parts:
            machine.failed(part)
    return ""


def not_ready_nodes(cluster: Cluster, found: Programs) -> str:
    """Which nodes are not ready, or why that cannot be known."""
    shape = '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status} {end}'
    try:
        asked = (
            f"--kubeconfig={cluster.kubeconfig}",
            "get",
            "nodes",
            "--request-timeout=5s",
            "-o",
            f"jsonpath={shape}",
        )
        text = run(found["kubectl"], *asked, timeout_s=10)
    except ClusterError as problem:
        return str(problem)
    ready = set(text.split())
    missing = [f"node-{number}" for number in cluster.plan.numbers if f"node-{number}=True" not in ready]
    return f"not ready: {', '.join(missing)}" if missing else ""


def dns_silent(plan: Plan) -> str:
    """Why the cluster's DNS does not know the API server, or nothing."""
    name = b"".join(bytes([len(label)]) + label for label in b"kubernetes.default.svc.cluster.local".split(b"."))
    question = b"\x4c\x52\x01\0\0\1\0\0\0\0\0\0" + name + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        try:
            client.sendto(question, (plan.control_plane, 53))
            answer = client.recv(512)
        except OSError as problem:
            return f"{plan.control_plane}:53: {problem}"
    return "" if socket.inet_aton(plan.first_service) in answer else "it does not know the service kubernetes yet"


def down(name: str) -> bool:
    """Stops a cluster and removes all of it; False when there was none."""
    require_machine()
    with locked(cache_folder() / "locks" / f"cluster-{name}", wait=False):
        there = (clusters_folder() / name).exists() or bool(network.namespaces(name))
        clean(name)
    return there


def clean(name: str) -> None:
    """Processes first: with them go containers and mounts. Each step does nothing where nothing is left."""
    folder, noted = clusters_folder() / name, find(name)
    machines.end_processes(folder)
    network.remove(name, noted.plan.slot if noted else None)
    machines.remove_cgroups(f"lr-{name}-node-")
    if folder.exists():
        wait_until(f"{folder} is removed", lambda: removed(folder), 30)
    machines.remove_mount_points()


def removed(folder: Path) -> str:
    """Removes a folder; the reason when a dying container still holds something."""
    problems: list[str] = []

    def note(_function: Callable[..., Any], path: str, failure: Any) -> None:
        problems.append(f"{path}: {failure[1]}")

    shutil.rmtree(folder, onerror=note)
    return problems[0] if problems else ""


def names() -> list[str]:
    """Every cluster that left a folder."""
    return sorted(path.parent.name for path in clusters_folder().glob("*/cluster.json"))


def status(name: str) -> dict[str, Any]:
    """What runs, for people and programs."""
    cluster = find(name)
    reason = why_down(cluster)
    if cluster is None:
        return {"name": name, "running": False, "reason": reason}
    return {
        "name": name,
        "running": not reason,
        "reason": reason,
        "kubeconfig": str(cluster.kubeconfig),
        "host_address": cluster.plan.node(1),
        "nodes": {f"node-{number}": cluster.plan.node(number) for number in cluster.plan.numbers},
        "processes": {str(pid): command[:120] for pid, command in machines.processes_of(cluster.folder).items()},
    }
