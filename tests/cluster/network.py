"""Addresses, namespaces and cables: every node has a network namespace of its own, joined by a bridge, with no way out.

All addresses are of the range that benchmarks own (RFC 2544), so no real network is hidden. The ranges of documentation
(RFC 5737) would do as well, but machines behind a gateway of package registries are seen to use those themselves.
"""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run, works
from tests.cluster.kept import ClusterError

RANGES = ("198.19.240", "198.19.241", "198.19.242")
"""One for each cluster that may run at the same time."""
MAX_NODES = 9
CONTROL_PLANE = "control-plane"


@dataclass(frozen=True)
class Plan:
    """Who has which address. `slot` counts the clusters of this machine."""

    cluster: str
    slot: int
    nodes: int

    @property
    def control_plane(self) -> str:
        """API server, cluster DNS and the add-ons."""
        return f"{RANGES[self.slot]}.254"

    @property
    def host(self) -> str:
        """This machine, as the cluster sees it."""
        return f"{RANGES[self.slot]}.253"

    @property
    def machines(self) -> tuple[str, ...]:
        """The names of all machines, the control plane first."""
        return (CONTROL_PLANE, *(f"node-{number}" for number in self.numbers))

    @property
    def numbers(self) -> range:
        """The nodes' numbers, from 1."""
        return range(1, self.nodes + 1)

    @property
    def services(self) -> str:
        """The range of service addresses."""
        return f"198.19.{self.slot}.0/24"

    @property
    def first_service(self) -> str:
        """The address of the service `kubernetes`."""
        return f"198.19.{self.slot}.1"

    @property
    def all_pods(self) -> str:
        """The range of all pods."""
        return f"198.18.{self.slot * 16}.0/20"

    @property
    def host_link(self) -> str:
        """The host's end of the cable."""
        return f"lrh{self.slot}"

    def node(self, number: int) -> str:
        """The address of a node."""
        return f"{RANGES[self.slot]}.{number}"

    def pods(self, number: int) -> str:
        """The range of a node's pods."""
        return f"198.18.{self.slot * 16 + number}.0/24"

    def namespace(self, machine: str) -> str:
        """The name of a machine's network namespace."""
        return f"lr-{self.cluster}-{machine}"


def build(plan: Plan) -> None:
    """Makes namespaces, bridge, cables and routes."""
    for machine in plan.machines:
        run("ip", "netns", "add", plan.namespace(machine))
    _batch(_control_plane(plan), plan.namespace(CONTROL_PLANE))
    _batch([line for number in plan.numbers for line in _cable(plan, number)])
    for number in plan.numbers:
        _batch(_node(plan, number), plan.namespace(f"node-{number}"))
    _batch(_plugs(plan), plan.namespace(CONTROL_PLANE))
    _batch(_host(plan))


def _batch(lines: list[str], namespace: str | None = None) -> None:
    inside = ("-netns", namespace) if namespace else ()
    run("ip", *inside, "-batch", "-", stdin="\n".join(lines) + "\n")


def _control_plane(plan: Plan) -> list[str]:
    """A default route must be there, if only to the bridge: kubelet and kube-proxy look for their address by it."""
    return [
        "link set lo up",
        "link add br0 type bridge",
        f"addr add {plan.control_plane}/24 dev br0",
        "link set br0 up",
        "route add default dev br0",
        *(f"route add {plan.pods(number)} via {plan.node(number)}" for number in plan.numbers),
    ]


def _cable(plan: Plan, number: int) -> list[str]:
    there, here = plan.namespace(f"node-{number}"), plan.namespace(CONTROL_PLANE)
    return [f"link add eth0 netns {there} type veth peer name port{number} netns {here}"]


def _node(plan: Plan, number: int) -> list[str]:
    others = [other for other in plan.numbers if other != number]
    return [
        "link set lo up",
        f"addr add {plan.node(number)}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {plan.control_plane}",
        *(f"route add {plan.pods(other)} via {plan.node(other)}" for other in others),
    ]


def _plugs(plan: Plan) -> list[str]:
    ports = [f"port{number}" for number in plan.numbers]
    return [f"link set {port} master br0 up" for port in ports]


def _host(plan: Plan) -> list[str]:
    """This machine reaches nodes, pods and services: services by way of the first node."""
    link, source = plan.host_link, f"src {plan.host}"
    nodes = f"{RANGES[plan.slot]}.0/25"
    return [
        f"link add {link} type veth peer name host netns {plan.namespace(CONTROL_PLANE)}",
        f"addr add {plan.host}/32 dev {link}",
        f"link set {link} up",
        f"route add {nodes} dev {link} {source}",
        f"route add {plan.control_plane}/32 dev {link} {source}",
        *(f"route add {plan.pods(number)} via {plan.node(number)} dev {link} {source}" for number in plan.numbers),
        f"route add {plan.services} via {plan.node(1)} dev {link} {source}",
    ]


def plug_host(plan: Plan) -> None:
    """Joins the far end of the host's cable to the bridge."""
    _batch(["link set host master br0 up"], plan.namespace(CONTROL_PLANE))


def remove(cluster: str, slot: int | None) -> None:
    """Removes every namespace of a cluster; links inside go with them, once no process is left there."""
    if slot is not None:
        works("ip", "link", "del", f"lrh{slot}")
    for entry in namespaces(cluster):
        run("ip", "netns", "del", entry)


def namespaces(cluster: str) -> list[str]:
    """The network namespaces that carry a cluster's name."""
    folder = Path("/run/netns")
    own = (CONTROL_PLANE, "node-")
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(name for name in names if name.removeprefix(f"lr-{cluster}-").startswith(own) and name[:3] == "lr-")


def free_slot(taken: set[int]) -> int:
    """The first set of ranges that no other cluster has and that overlaps no address or route of this machine."""
    used = in_use(run("ip", "-4", "-o", "addr"), run("ip", "-4", "route", "show", "table", "all"))
    for slot, prefix in enumerate(RANGES):
        plan = Plan("", slot, 1)
        own = [ipaddress.ip_network(each) for each in (f"{prefix}.0/24", plan.all_pods, plan.services)]
        if slot not in taken and not any(mine.overlaps(other) for mine in own for other in used):
            return slot
    raise ClusterError(
        f"no address range is free: {len(taken)} clusters run (python -m tests.cluster status), and this machine's own "
        f"network uses the others of {', '.join(f'{prefix}.0/24' for prefix in RANGES)}"
    )


def in_use(addresses: str, routes: str) -> list[ipaddress.IPv4Network]:
    """The networks that `ip addr` and `ip route` name; a default route is none."""
    words = re.findall(r"inet (\S+)", addresses)
    words += re.findall(r"^(?:\w+ )?(\d+\.\d+\.\d+\.\d+(?:/\d+)?) ", routes, re.MULTILINE)
    return [ipaddress.ip_network(word, strict=False) for word in words]
