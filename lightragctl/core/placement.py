"""What a profile says of the place a release runs in: pools of nodes, networks, and what only its user knows. Pure."""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lightragctl.core.bounds import Label, LabelKey
from lightragctl.core.settings import Port, StrictModel

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""The label that every namespace has, with its name."""


def _without_nulls(labels: Any) -> Any:
    """Maps are merged key by key, so null is how a profile takes back a label of the one that it extends."""
    return {key: value for key, value in labels.items() if value is not None} if isinstance(labels, dict) else labels


Labels = Annotated[dict[str, str], BeforeValidator(_without_nulls)]
Selector = Annotated[dict[LabelKey, Label], BeforeValidator(_without_nulls)]
"""Labels by which nodes, namespaces or pods are found."""


def _range(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text} is no address range such as 10.0.0.0/16 or fd00::/64: {error}") from error


AddressRange = Annotated[str, AfterValidator(_range)]
"""An IPv4 or IPv6 range in CIDR notation; a single address becomes a range of one."""


class Toleration(StrictModel):
    """A taint of nodes that pods put up with; without `value` any value of the key."""

    key: LabelKey
    value: Label | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None

    def rendered(self) -> dict[str, str]:
        """As a pod has it."""
        how = {"operator": "Exists"} if self.value is None else {"operator": "Equal", "value": self.value}
        return {"key": self.key, **how, **({"effect": self.effect} if self.effect else {})}


class NodePool(StrictModel):
    """Nodes of one kind. `autoscaled`: nodes come when pods ask for them, so that there may be none now."""

    node_selector: Annotated[Selector, Field(min_length=1)]
    tolerations: tuple[Toleration, ...] = ()
    autoscaled: bool = False


class NetworkPolicySettings(StrictModel):
    """Who is let in and out when all else is denied; namespaces and pods by their labels.

    `clients`: further namespaces whose pods may ask lightrag-api. `ingress_addresses`: ranges that load balancers
    outside the cluster send requests and health checks from. `dns_pods` listen on `dns_port`; `dns_addresses`: ranges
    of DNS caches that are no pods of these, by default that of NodeLocal DNSCache. `addresses`: by host outside the
    cluster, the address ranges that it may have; a host that is not named may have any, on its port.
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
    """The keys that a profile's values ask for under `site` and that nobody has set, with what to put there."""
    asked = values.get("site")
    if not isinstance(asked, Mapping):
        return {}
    wanted = {str(key): str(what) for key, what in asked.items() if what is not None}
    return {key: what for key, what in wanted.items() if _at(values, key) is None and not _is_off(values, key)}


def _is_off(values: Mapping[str, Any], key: str) -> bool:
    """Whether the key is of a component that is not enabled."""
    steps = key.split(".")
    return steps[0] == "components" and _at(values, f"components.{steps[1]}.enabled") is False


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for step in key.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def filled(values: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The values with one more, at a dotted key."""
    step, _, rest = key.partition(".")
    inner = values.get(step)
    made = filled(inner if isinstance(inner, Mapping) else {}, rest, value) if rest else value
    return {**values, step: made}
