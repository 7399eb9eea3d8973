"""Where a release runs, in a profile: node pools, network access, and values that only its user knows. Pure."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lightragctl.core.bounds import Label, LabelKey
from lightragctl.core.settings import Port, StrictModel

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that every namespace has, with its name."""


def _without_nulls(labels: Any) -> Any:
    """Drop null labels: maps are merged by key, so null removes a label of the base profile."""
    return {key: value for key, value in labels.items() if value is not None} if isinstance(labels, dict) else labels


Labels = Annotated[dict[str, str], BeforeValidator(_without_nulls)]
Selector = Annotated[dict[LabelKey, Label], BeforeValidator(_without_nulls)]
"""Labels that select nodes, namespaces or pods."""


def _range(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text} is not an address range such as 10.0.0.0/16 or fd00::/64: {error}") from error


AddressRange = Annotated[str, AfterValidator(_range)]
"""An IPv4 or IPv6 range in CIDR notation; a single address becomes a range of one."""


class Toleration(StrictModel):
    """A node taint that pods tolerate; without `value`, any value of the key."""

    key: LabelKey
    value: Label | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    def rendered(self) -> dict[str, str]:
        """The toleration in a pod's spec."""
        how = {"operator": "Exists"} if self.value is None else {"operator": "Equal", "value": self.value}
        return {"key": self.key, **how, **({"effect": self.effect} if self.effect else {})}


class NodePool(StrictModel):
    """A node pool. `autoscaled`: its nodes are created on demand, so there may be none at present."""

    node_selector: Annotated[Selector, Field(min_length=1)]
    tolerations: tuple[Toleration, ...] = ()
    autoscaled: bool = False


class NetworkPolicySettings(StrictModel):
    """Allowed traffic of the network policies, which deny everything else; namespaces and pods by label.

    `clients`: further namespaces whose pods may call lightrag-api. `ingress_addresses`: source ranges of load balancers
    outside the cluster and their health checks. `dns_pods` listen on `dns_port`; `dns_addresses`: ranges of DNS caches
    that are not among these pods, by default NodeLocal DNSCache. `addresses`: address ranges of a host outside the
    cluster, by host; a host without an entry may have any address, on its port.
    """

    ingress_addresses: tuple[AddressRange, ...] = ()
    ingress: Selector = Field(default_factory=lambda: {NAMESPACE_LABEL: "ingress-nginx"})
    monitoring: Selector = Field(default_factory=lambda: {NAMESPACE_LABEL: "monitoring"})
    clients: Selector | None = None
    dns: Selector = Field(default_factory=lambda: {NAMESPACE_LABEL: "kube-system"})
    dns_pods: Selector = Field(default_factory=lambda: {"k8s-app": "kube-dns"})
    dns_port: Port = 53
    dns_addresses: tuple[AddressRange, ...] = ("169.254.20.10/32",)
    addresses: dict[str, tuple[AddressRange, ...]] = Field(default_factory=dict)


def unset(values: Mapping[str, Any]) -> dict[str, str]:
    """Required values (`site`) that are not set, with their descriptions, by key."""
    asked = values.get("site")
    if not isinstance(asked, Mapping):
        return {}
    wanted = {str(key): str(what) for key, what in asked.items() if what is not None}
    return {key: what for key, what in wanted.items() if _at(values, key) is None and not _is_off(values, key)}


def _is_off(values: Mapping[str, Any], key: str) -> bool:
    """Whether the key belongs to a disabled component."""
    steps = key.split(".")
    return steps[0] == "components" and _at(values, f"components.{steps[1]}.enabled") is False


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for step in key.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def filled(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The values with a value set at a dotted key."""
    step, _, rest = key.partition(".")
    inner = values.get(step)
    made = filled(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value
    return {**values, step: made}
