"""The path of a search, hop by hop, with the state of each. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from lightragctl.core.findings import Severity
from lightragctl.diagnose.check import Found
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.judge import Diagnosed
from lightragctl.diagnose.keys import DEPLOYED, MODELS, SEARCHED, SERVICES, STORE

_ORDER = (
    *("lightrag-api", "lightrag-server", "model-gateway", "embedder", "model-server", "mock-llm"),
    *("vector-engine", "etcd", "kafka"),
)


@dataclass(frozen=True)
class Hop:
    """One component on the path of a search.

    `state` is `ok`, `failed`, `degraded` or `unknown`; `code` is that of the finding; `took_ms` of one request.
    """

    component: str
    state: str
    code: str = ""
    took_ms: float | None = None


def hops(facts: Facts, diagnosed: Diagnosed) -> tuple[Hop, ...]:
    """The components that are deployed, in the order in which a search reaches them."""
    if DEPLOYED not in facts:
        return ()
    worst: dict[str, Found] = {}
    for one in _all(diagnosed):
        known = worst.get(one.component)
        if one.component and (known is None or (one.severity, one.code) < (known.severity, known.code)):
            worst[one.component] = one
    took = _times(facts)
    return tuple(_hop(name, worst.get(name), took) for name in _ORDER if name in facts[DEPLOYED].components)


def _all(diagnosed: Diagnosed) -> Iterator[Found]:
    for one in diagnosed.findings:
        yield one
        yield from one.consequences


def _hop(name: str, found: Found | None, took: dict[str, float]) -> Hop:
    if found is not None:
        is_down = found.severity is Severity.ERROR and not found.serves
        return Hop(name, "failed" if is_down else "degraded", found.code, took.get(name))
    return Hop(name, "ok" if name in took else "unknown", "", took.get(name))


def _times(facts: Facts) -> dict[str, float]:
    """Milliseconds of one request to each component that answered."""
    found: dict[str, float] = {}
    for replica in facts.get(SERVICES, []):
        if replica.live == 200:
            found[replica.component] = max(found.get(replica.component, 0.0), round(replica.took_s * 1000, 1))
    for model in facts.get(MODELS, []):
        if model.status == 200 and not model.at:
            found["embedder" if model.kind == "embedding" else "mock-llm"] = round(model.took_s * 1000, 1)
    if STORE in facts and facts[STORE].reached:
        found["vector-engine"] = round(facts[STORE].took_s * 1000, 1)
    if SEARCHED in facts and facts[SEARCHED].status == 200:
        found["lightrag-api"] = round(facts[SEARCHED].took_s * 1000, 1)
    return found
