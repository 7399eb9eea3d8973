"""The NetworkPolicies of a release: default deny, plus the traffic that components declare. Pure.

A component declares the components that it calls, its external addresses and its ports; the policies follow from that.
A policy cannot name an external host, only addresses. So a host without address ranges in the profile is allowed at any
address, except those of the node's own services.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lightragctl.core.component import Component, Plan
from lightragctl.core.placement import NAMESPACE_LABEL, Labels, NetworkPolicySettings
from lightragctl.kube.labels import COMPONENT, INSTANCE

Rule = Mapping[str, Any]
_ANYWHERE: tuple[Rule, ...] = (
    {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
    {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}},
)
"""Any address except link-local ones and the metadata services that give out the credentials of a node."""
_METADATA = ("169.254.169.254/32", "169.254.170.23/32", "169.254.169.252/32", "fd00:ec2::254/128", "fd00:ec2::23/128")
_METADATA_PORTS = (80, 988)
"""Metadata services, by the clouds' documentation: EC2, Azure and Google at 169.254.169.254 (EC2 also over IPv6), the
agent of EKS Pod Identity at 169.254.170.23 and fd00:ec2::23, Google's for Workload Identity at 169.254.169.252:988."""
_NODE_LOCAL_DNS = {"k8s-app": "node-local-dns"}
"""The pods of NodeLocal DNSCache, to which some network plug-ins send DNS queries."""
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy of a component; without one, of the whole release."""

    component: str
    name: str
    spec: Mapping[str, Any]


def policies(plan: Plan) -> list[Policy]:
    """The release's policies; none if the profile has no `network`."""
    network = plan.profile.network
    if network is None:
        return []
    both = ["Ingress", "Egress"]
    deny = Policy("", "default-deny", {"podSelector": {}, "policyTypes": both})
    dns = Policy("", "dns", {"podSelector": _pods(plan), "policyTypes": ["Egress"], "egress": [_dns(network)]})
    made = [deny, dns]
    for name, component in sorted(plan.components.items()):
        rules = {"ingress": list(_ingress(plan, component, network)), "egress": list(_egress(plan, component, network))}
        made.append(Policy(name, "", {"podSelector": _pods(plan, name), "policyTypes": both, **rules}))
    return made


def _pods(plan: Plan, component: str = "") -> Rule:
    labels = {INSTANCE: plan.release, **({COMPONENT: component} if component else {})}
    return {"matchLabels": labels}


def _namespaces(labels: Labels) -> Rule:
    return {"namespaceSelector": {"matchLabels": labels}}


def _tcp(ports: Sequence[int]) -> dict[str, Any]:
    return {"ports": [{"protocol": "TCP", "port": port} for port in ports]} if ports else {}


def _dns(network: NetworkPolicySettings) -> Rule:
    servers = [
        {**_namespaces(network.dns), "podSelector": {"matchLabels": labels}}
        for labels in (network.dns_pods, _NODE_LOCAL_DNS)
    ]
    ports = sorted({53, network.dns_port})  # a cache listens on 53 even if its upstream servers do not
    return {
        "to": [*servers, *_blocks(network.dns_addresses)],
        "ports": [{"protocol": protocol, "port": port} for port in ports for protocol in ("UDP", "TCP")],
    }


def _blocks(ranges: Sequence[str]) -> list[Rule]:
    return [{"ipBlock": {"cidr": one}} for one in ranges]


def listens(plan: Plan, component: Component) -> Sequence[int]:
    """The ports on which the component listens."""
    return component.ports(plan) if component.ports else (plan.port(component.name),)


def _reaches(component: Component) -> tuple[str, ...]:
    return (*component.requires, *component.calls)


def _ingress(plan: Plan, component: Component, network: NetworkPolicySettings) -> Iterator[Rule]:
    ports = listens(plan, component)
    callers = [name for name, other in sorted(plan.components.items()) if component.name in _reaches(other)]
    if callers:
        yield {"from": [{"podSelector": _pods(plan, name)} for name in callers], **_tcp(ports)}
    if component.peers:
        yield {"from": [{"podSelector": _pods(plan, component.name)}]}
    if component.entry:
        inside = [network.ingress, *([network.clients] if network.clients else [])]
        clients = [*(_namespaces(labels) for labels in inside), *_blocks(network.ingress_addresses)]
        # Without `from` every source is allowed. In some plug-ins a block of all addresses excludes nodes and pods.
        is_open = component.open_to_all is not None and component.open_to_all(plan)
        yield {**({} if is_open else {"from": clients}), **_tcp(ports)}
    metrics = component.metrics_ports(plan) if component.metrics_ports else ports
    if metrics:
        yield {"from": [_namespaces(network.monitoring)], **_tcp(metrics)}


def _egress(plan: Plan, component: Component, network: NetworkPolicySettings) -> Iterator[Rule]:
    for name in _reaches(component):
        if name in plan.components:
            yield {"to": [{"podSelector": _pods(plan, name)}], **_tcp(listens(plan, plan.components[name]))}
    if component.peers:
        yield {"to": [{"podSelector": _pods(plan, component.name)}]}
    found: list[Rule] = []
    for address in component.outside(plan) if component.outside else ():
        if (rule := outside(address, network)) not in found:
            found.append(rule)
    if component.node_credentials and component.node_credentials(plan):
        found.append({"to": _blocks(_METADATA), **_tcp(_METADATA_PORTS)})
        found.append(outside("https://*", network))  # the token service that exchanges a pod's token for credentials
    yield from found


def outside(address: str, network: NetworkPolicySettings) -> Rule:
    """The egress rule for an address: a URL, HOST:PORT or HOST; the host `*` is any.

    A host of one label is a Service in the release's namespace, `NAME.NAMESPACE.svc` one in another namespace, as are
    names of its pods. Pods may listen on other ports than their Service, so ports are not restricted there.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    host = parts.hostname or ""
    steps = host.split(".")
    ranges = network.addresses.get(host) or _own_range(host)
    if not ranges and host != "*" and len(steps) == 1:
        return {"to": [{"podSelector": {}}]}
    if not ranges and "svc" in steps[2:]:
        return {"to": [_namespaces({NAMESPACE_LABEL: steps[steps.index("svc", 2) - 1]})]}
    return {"to": _blocks(ranges) or list(_ANYWHERE), **_tcp([parts.port or _PORTS.get(parts.scheme, 443)])}


def _own_range(host: str) -> tuple[str, ...]:
    """The range of a host that is an IP address."""
    try:
        return (str(ipaddress.ip_network(host)),)
    except ValueError:
        return ()
