"""Checks of a search on its way: services, queues, breakers, the vector store and its own metrics. Pure."""

from collections.abc import Iterator
from functools import partial

from lightragctl.client.series import total
from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.diagnose.check import SLOW, UNAVAILABLE, Category, Check, Trouble
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DEPLOYED, GROWTH, METRICS, SEARCHED, SERVICES, THRESHOLDS
from lightragctl.diagnose.lookup import merged, of_component
from lightragctl.diagnose.text import share

_OPEN = 2


_LOG = Hint("see its log: ", Command("logs"))


def _answering(facts: Facts) -> Iterator[Trouble]:
    for one in facts[SERVICES]:
        if one.error or one.live != 200:
            message = one.error or f"/healthz answers {one.live}"
            hint = Hint("see why: ", Command("status"), " and ", Command("logs", one.component))
            yield Trouble(f"{one.component}/{one.name}", message, hint, component=one.component)


def _ready(facts: Facts) -> Iterator[Trouble]:
    for one in facts[SERVICES]:
        if one.live == 200 and one.ready != 200:
            message = f"it is not ready: {one.reason or one.ready}"
            hint = Hint("see what it waits for: ", Command("logs", one.component))
            evidence = (f"/readyz answers {one.ready}",)
            yield Trouble(f"{one.component}/{one.name}", message, hint, evidence=evidence, component=one.component)


def _searched(facts: Facts) -> Iterator[Trouble]:
    one = facts[SEARCHED]
    if one.status != 200:
        said = f"it answers {one.status} ({one.code})" if one.status else "no answer"
        message = f"a search fails: {one.error or said}"
        hint = Hint("try it: ", Command("retrieve", "TEXT"), "; see: ", Command("logs", "lightrag-api"))
        evidence = (f"POST /retrieve: {said} after {one.took_s:.2f} s",)
        yield Trouble("lightrag-api", message, hint, evidence=evidence, component="lightrag-api")


def _slow(facts: Facts) -> Iterator[Trouble]:
    one, deadline_s = facts[SEARCHED], facts[DEPLOYED].request_s
    most_s = facts[THRESHOLDS].search_ratio * deadline_s
    if one.status == 200 and one.took_s > most_s:
        stages = {name: value for name, value in one.stages_ms.items() if name != "total"}
        slowest = max(stages, key=lambda name: stages[name], default="")
        where = f", {stages[slowest]:.0f} ms of it in {slowest}" if slowest else ""
        message = f"a search takes {one.took_s:.2f} s{where}; its deadline is {deadline_s:g} s"
        evidence = tuple(f"{name} {value:.0f} ms" for name, value in sorted(one.stages_ms.items()))
        yield Trouble("lightrag-api", message, _SLOW.get(slowest, _LOG), evidence=evidence)


_SLOW = {
    "embed": Hint("the model is slow: more replicas or processors for it; see ", Command("logs", "embedder")),
    "search": Hint(
        "Milvus is slow: lower index.ef or nprobe, or add query nodes; see ", Command("logs", "vector-engine")
    ),
}


def _grows(facts: Facts, component: str, name: str) -> float:
    return total(merged(facts[GROWTH], component, name))


def _rejected(facts: Facts) -> Iterator[Trouble]:
    if count := _grows(facts, "lightrag-api", "lightragctl_queue_rejected_total"):
        message = f"its queue is full: it rejected {count:.0f} calls in the last seconds"
        hint = Hint("add replicas of lightrag-api, or find the slow stage: ", Command("bench run"))
        yield Trouble("lightrag-api", message, hint, evidence=("lightragctl_queue_rejected_total grows",))


def _late(facts: Facts) -> Iterator[Trouble]:
    late = _grows(facts, "lightrag-api", "lightragctl_deadline_missed_total")
    asked = _grows(facts, "lightrag-api", "lightragctl_http_requests_total")
    most = facts[THRESHOLDS].late_requests
    if late and share(late, asked) > most:
        message = (
            f"{late:.0f} of {asked:.0f} requests of the last seconds were rejected because their deadline had passed"
        )
        hint = Hint("find the slow stage: ", Command("bench run"), "; or raise components.lightrag-api.deadlines")
        yield Trouble("lightrag-api", message, hint, evidence=(f"threshold {most:.0%}",))


def _loop(facts: Facts) -> Iterator[Trouble]:
    most_s = facts[THRESHOLDS].loop_lag_s
    for key, series in facts[METRICS].items():
        lag_s = max((value for _, value in series.get("lightragctl_loop_lag_seconds", ())), default=0.0)
        if lag_s > most_s:
            message = f"its event loop lags by {lag_s:.1f} s: it has too little CPU"
            hint = Hint("raise resources.limits.cpu of the component, or add replicas")
            yield Trouble(key, message, hint, evidence=(f"lightragctl_loop_lag_seconds, threshold {most_s:g} s",))


def _failing(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].failed_calls
    for component in ("lightrag-api", "model-gateway", "embedder"):
        samples = [
            one
            for one in merged(facts[GROWTH], component, "lightragctl_http_requests_total")
            if not one[0].get("route", "").endswith(("/readyz", "/healthz", "/metrics"))
        ]
        asked = total(samples)
        failed = sum(value for labels, value in samples if labels.get("code", "").startswith("5"))
        if failed >= _SOME and share(failed, asked) > most:
            message = f"{failed:.0f} of {asked:.0f} requests of the last seconds failed with 5xx"
            hint = Hint("see why: ", Command("logs", component))
            yield Trouble(component, message, hint, component=component, evidence=(f"threshold {most:.0%}",))


_SOME = 3


def open_breakers(facts: Facts, *backends: str) -> Iterator[Trouble]:
    """Backends that lightrag-api does not call at present."""
    for name, series in of_component(facts[METRICS], "lightrag-api"):
        for labels, value in series.get("lightragctl_breaker_state", ()):
            if value == _OPEN and labels.get("backend") in backends:
                backend = labels["backend"]
                message = f"its circuit breaker of {backend} is open: it does not call {backend} at present"
                hint = Hint(f"it closes by itself once {backend} answers in time: ", Command("logs", "lightrag-api"))
                evidence = ("lightragctl_breaker_state 2",)
                yield Trouble(f"lightrag-api/{name}", message, hint, evidence=evidence, component="lightrag-api")


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING


_check = partial(Check, category=Category.RETRIEVAL)


CHECKS = (
    _check(
        code="LR200",
        title="every replica of lightragctl's services responds",
        severity=_ERROR,
        needs=(SERVICES,),
        judge=_answering,
        fix=Hint("see why it does not answer: ", Command("status"), " and ", Command("logs")),
        symptoms=(UNAVAILABLE, SLOW),
        stops=True,
    ),
    _check(
        code="LR201",
        title="a search succeeds",
        severity=_ERROR,
        needs=(SEARCHED,),
        judge=_searched,
        fix=Hint("find the hop that fails in the path of the search, and its log: ", Command("logs", "lightrag-api")),
        symptoms=(UNAVAILABLE, SLOW),
    ),
    _check(
        code="LR202",
        title="a search takes less than half of its deadline",
        severity=_WARNING,
        needs=(SEARCHED, DEPLOYED, THRESHOLDS),
        judge=_slow,
        fix=Hint(
            "find the slow stage, embed (the model), search (Milvus) or the queue, and give it more replicas: ",
            Command("bench run"),
        ),
        symptoms=(SLOW,),
    ),
    _check(
        code="LR214",
        title="the queue of lightrag-api is not full",
        severity=_WARNING,
        needs=(GROWTH,),
        judge=_rejected,
        fix=Hint("add replicas of lightrag-api, or find the slow stage: ", Command("bench run")),
        symptoms=(SLOW, UNAVAILABLE),
    ),
    _check(
        code="LR215",
        title="requests end before their deadline",
        severity=_WARNING,
        needs=(GROWTH, THRESHOLDS),
        judge=_late,
        fix=Hint("find the slow stage: ", Command("bench run"), "; or raise components.lightrag-api.deadlines"),
        symptoms=(SLOW,),
        explains=("LR217",),
    ),
    _check(
        code="LR216",
        title="event loops do not lag",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_loop,
        fix=Hint("raise resources.limits.cpu of the component, or add replicas, then: ", Command("up")),
        symptoms=(SLOW,),
        explains=("LR202",),
    ),
    _check(
        code="LR217",
        title="requests do not fail",
        severity=_ERROR,
        needs=(GROWTH, THRESHOLDS),
        judge=_failing,
        fix=Hint("read the errors with their codes: ", Command("logs", "lightrag-api")),
        symptoms=(UNAVAILABLE,),
    ),
    _check(
        code="LR218",
        title="the circuit breaker of Milvus is closed",
        severity=_ERROR,
        needs=(METRICS,),
        judge=lambda facts: open_breakers(facts, "milvus"),
        fix=Hint(
            "it closes by itself once Milvus answers in time; see why it does not: ", Command("logs", "vector-engine")
        ),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR201",),
    ),
    _check(
        code="LR221",
        title="every replica of lightragctl's services is ready",
        severity=_ERROR,
        needs=(SERVICES,),
        judge=_ready,
        fix=Hint("see what it waits for: ", Command("logs", "lightrag-api")),
        symptoms=(UNAVAILABLE,),
        stops=True,
    ),
)
