"""The TCP connections between pods that are open now, and whether NetworkPolicies would allow them.

The test cluster enforces no policies, so what they would cut is found by looking at what talks to whom. Connections are
read from the network namespaces of this machine, before service addresses are translated.
"""

import os
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Thing = Mapping[str, Any]
ESTABLISHED = "01"
FIRST_EPHEMERAL = 32768
"""Linux gives the caller's side of a connection a port from here on."""


@dataclass(frozen=True)
class Connection:
    """An open connection as its caller sees it."""

    caller: str
    called: str
    port: int


def open_connections(pods: Sequence[Thing]) -> set[Connection]:
    """The connections that these pods have opened, by address."""
    addresses = {pod["status"].get("podIP") for pod in pods}
    found = set()
    for table in _tables():
        for line in table.splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            (caller, own), (called, port) = _address(local), _address(remote)
            if state == ESTABLISHED and caller in addresses and own >= FIRST_EPHEMERAL > port:
                found.add(Connection(caller, called, port))
    return found


def _tables() -> Iterator[str]:
    """The connections of each network namespace, as the kernel tells them."""
    known = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace = os.readlink(process / "ns" / "net")
            if namespace not in known:
                known.add(namespace)
                yield from ((process / "net" / name).read_text() for name in ("tcp", "tcp6"))
        except OSError:
            continue  # it has ended meanwhile


def _address(text: str) -> tuple[str, int]:
    """`0100007F:0050` is 127.0.0.1 and 80; an IPv4 address in IPv6's clothes ends with its own four bytes."""
    host, port = text.split(":")
    return socket.inet_ntoa(struct.pack("<L", int(host[-8:], 16))), int(port, 16)


@dataclass(frozen=True)
class Policies:
    """The NetworkPolicies of a namespace, and what they speak of."""

    namespace: str
    policies: Sequence[Thing]
    pods: Sequence[Thing]
    services: Sequence[Thing]
    namespaces: Mapping[str, Mapping[str, str]]

    def forbids(self, connection: Connection) -> str:
        """Which end would not allow the connection, in words; empty when both would."""
        caller = self._pod(connection.caller)
        called = self._pod(connection.called) or self._behind(connection)
        if caller is None or not self._allow("egress", caller, called, connection.port):
            return f"{_name(caller)} may not reach {_name(called)} at {connection.called}:{connection.port}"
        inside = called is not None and called["metadata"]["namespace"] == self.namespace
        if called is not None and inside and not self._allow("ingress", called, caller, connection.port):
            return f"{_name(called)} may not be reached by {_name(caller)} at {connection.port}"
        return ""

    def _pod(self, address: str) -> Thing | None:
        return next((pod for pod in self.pods if pod["status"].get("podIP") == address), None)

    def _behind(self, connection: Connection) -> Thing | None:
        """A pod behind the Service that has the address."""
        service = next((one for one in self.services if one["spec"].get("clusterIP") == connection.called), None)
        if service is None:
            return None
        wanted, where = service["spec"].get("selector") or {}, service["metadata"]["namespace"]
        return next(
            pod
            for pod in self.pods
            if pod["metadata"]["namespace"] == where and wanted.items() <= pod["metadata"]["labels"].items()
        )

    def _allow(self, way: str, pod: Thing, peer: Thing | None, port: int) -> bool:
        side = {"egress": "to", "ingress": "from"}[way]
        rules = [
            rule
            for one in self.policies
            if _selects(one["spec"]["podSelector"], pod["metadata"]["labels"])
            for rule in one["spec"].get(way) or ()
        ]
        return any(
            any(self._is(one, peer) for one in rule[side])
            and port in [each["port"] for each in rule.get("ports") or [{"port": port}]]
            for rule in rules
        )

    def _is(self, wanted: Thing, pod: Thing | None) -> bool:
        if pod is None or "ipBlock" in wanted:
            return pod is None and "ipBlock" in wanted
        where = pod["metadata"]["namespace"]
        if "namespaceSelector" in wanted:
            at_home = _selects(wanted["namespaceSelector"], self.namespaces[where])
        else:
            at_home = where == self.namespace
        return at_home and _selects(wanted.get("podSelector") or {}, pod["metadata"]["labels"])


def _selects(selector: Thing, labels: Mapping[str, str]) -> bool:
    return bool((selector.get("matchLabels") or {}).items() <= labels.items())


def _name(pod: Thing | None) -> str:
    return pod["metadata"]["name"] if pod else "somebody outside"
