"""Checks of the models: whether each endpoint takes our key and requests, answers in time, and what it gives. Pure."""

import math
from collections.abc import Callable, Iterator
from functools import partial

from lightragctl.core.findings import Severity
from lightragctl.core.hint import Command, Hint
from lightragctl.core.quantity import quantity
from lightragctl.diagnose.check import SLOW, UNAVAILABLE, WRONG, Category, Check, Trouble
from lightragctl.diagnose.checks.retrieval import open_breakers
from lightragctl.diagnose.facts import Facts
from lightragctl.diagnose.keys import DEPLOYED, METRICS, MODELS, NODES, THRESHOLDS, WORKLOADS
from lightragctl.diagnose.lookup import merged
from lightragctl.diagnose.model import FOREIGN, Endpoint
from lightragctl.kube.labels import component_of
from lightragctl.kube.objects import name_of, spec_of, status_of

_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes of OpenAI's API for an account without credit; some come with status 429, and retries do not help."""
_REACH = ("upstream_unreachable", "upstream_broken")


def component_of_model(one: Endpoint, facts: Facts) -> str:
    """The component that fails with the endpoint: its server, or model-gateway, which calls another's."""
    release = facts[DEPLOYED]
    if one.at and not one.at.startswith(("http://", "https://")):
        return "model-server"
    if one.kind == "chat":
        return "mock-llm" if not one.at and "mock-llm" in release.components else ""
    return "embedder" if not one.at else "model-gateway"


def kind_of(one: Endpoint) -> str:
    """What is wrong with the call, in a word; empty when it was answered."""
    if one.code == FOREIGN or 300 <= one.status < 400:
        return "foreign"
    if one.status == 200:
        return ""
    if one.status in (401, 403) or one.code == "upstream_key":
        return "key"
    if one.status == 402 or one.code in _CREDIT:
        return "credit"
    if one.status == 429:
        return "rate"
    if one.code in _REACH:
        return "unreachable"
    if one.code in ("timeout", "upstream_timeout") or one.status == 504:
        return "late"
    return "request" if one.status in (400, 404, 405, 413, 415, 422) else "server"


def _failed(kind: str, message: str, hint: Hint) -> Callable[[Facts], Iterator[Trouble]]:
    def judge(facts: Facts) -> Iterator[Trouble]:
        for one in facts[MODELS]:
            if kind_of(one) == kind:
                where = one.at or "the release's own server"
                said = f"{one.status} {one.code}".strip() if one.status else one.error or one.code
                evidence = (f"one call to {one.kind} '{one.model}' at {where}: {said} after {one.took_s:.2f} s",)
                component = component_of_model(one, facts)
                why, fix = _CAUSES.get(one.cause, ("", hint))
                text = message.format(kind=one.kind, where=where, model=one.model) + why
                yield Trouble(f"models.{one.kind}", text, fix, evidence=evidence, component=component)

    return judge


def _dimension(facts: Facts) -> Iterator[Trouble]:
    wanted = facts[DEPLOYED].dimension
    for one in facts[MODELS]:
        if one.kind == "embedding" and not kind_of(one) and one.dimension != wanted:
            message = f"'{one.model}' returns vectors of dimension {one.dimension}, and the profile sets {wanted}"
            hint = Hint(
                f"set models.embedding.dimension to {one.dimension}, or serve the other model; then: ", Command("up")
            )
            component = component_of_model(one, facts)
            yield Trouble("models.embedding", message, hint, component=component, evidence=(f"profile: {wanted}",))


def _empty(facts: Facts) -> Iterator[Trouble]:
    for one in facts[MODELS]:
        if one.kind == "embedding" and not kind_of(one) and not (one.norm > 0 and math.isfinite(one.norm)):
            message = f"'{one.model}' returns invalid vectors: all zero, or not numbers"
            component = component_of_model(one, facts)
            hint = Hint("see the server of the model: ", Command("logs", component or "model-gateway"))
            evidence = (f"length {one.norm}",)
            yield Trouble("models.embedding", message, hint, component=component, evidence=evidence)


def _slow(facts: Facts) -> Iterator[Trouble]:
    most_s = facts[THRESHOLDS].embedding_s
    for one in facts[MODELS]:
        if one.kind == "embedding" and not kind_of(one) and one.took_s > most_s:
            message = f"embedding one short text takes {one.took_s:.1f} s"
            hint = Hint("give its server more processors or a GPU, or add replicas")
            yield Trouble("models.embedding", message, hint, evidence=(f"threshold {most_s:g} s",))


def _breakers(facts: Facts) -> Iterator[Trouble]:
    yield from open_breakers(facts, "embedding", "chat")


def _waiting(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].waiting_requests
    for name in ("vllm:num_requests_waiting", "te_queue_size"):
        waiting = max((value for _, value in merged(facts[METRICS], "model-server", name)), default=0.0)
        if waiting > most:
            message = f"{waiting:.0f} requests wait for it"
            hint = Hint("add replicas of the server, or lower the load")
            yield Trouble("model-server", message, hint, evidence=(f"{name}, threshold {most}",))


def _cache(facts: Facts) -> Iterator[Trouble]:
    most = facts[THRESHOLDS].memory_critical
    for name in ("vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"):
        used = max((value for _, value in merged(facts[METRICS], "model-server", name)), default=0.0)
        if used > most:
            message = f"its KV cache is {used:.0%} full: requests are preempted and computed again"
            hint = Hint("lower the context length, raise the GPU's share for it, or add replicas")
            yield Trouble("model-server", message, hint, evidence=(f"{name}, threshold {most:.0%}",))


def _no_gpu(facts: Facts) -> Iterator[Trouble]:
    """Workloads that request GPUs of a cluster whose nodes offer none: the device plugin is missing."""
    offered = sum(int(quantity((status_of(one).get("allocatable") or {}).get(_GPU, 0))) for one in facts[NODES])
    for one in facts[WORKLOADS]:
        pod = (spec_of(one).get("template") or {}).get("spec") or {}
        wanted = sum(
            int(quantity(((each.get("resources") or {}).get("limits") or {}).get(_GPU, 0)))
            for each in pod.get("containers") or ()
        )
        if wanted and not offered and spec_of(one).get("replicas", 1):
            message = f"it requests {wanted} GPUs, and no node has any ({_GPU})"
            hint = Hint("install the NVIDIA device plugin, or add GPU nodes: kubectl describe nodes")
            component = component_of(one)
            yield Trouble(f"{one['kind']}/{name_of(one)}", message, hint, component=component)


_GPU = "nvidia.com/gpu"
_ERROR, _WARNING = Severity.ERROR, Severity.WARNING
_UNREACHABLE = Hint(
    "check the url of the model in the profile, network policies and proxies; is it running? ", Command("status")
)
_CAUSES = {
    "certificate": (
        ": its TLS certificate is not accepted",
        Hint("renew the certificate, or add its authority to the trusted ones where model-gateway runs"),
    ),
    "not-tls": (": there is no TLS on this port", Hint("use http:// in models.*.url; then: ", Command("up"))),
    "dns": (
        ": its name cannot be resolved",
        Hint("check the host in models.*.url and the name server: getent hosts HOST"),
    ),
    "refused": (
        ": it refuses connections",
        Hint("start it, or check host and port in models.*.url; is it running? ", Command("status")),
    ),
    "network": (
        ": connections time out or have no route",
        Hint("check host and port in models.*.url, firewalls, routes and network policies"),
    ),
    "proxy": (
        ": the proxy does not reach it",
        Hint("check HTTP_PROXY, HTTPS_PROXY and NO_PROXY where up runs; then: ", Command("up")),
    ),
}
"""Why an endpoint is unreachable, by the known error in the message of model-gateway."""
_KEY = Hint("check the key in the Secret, file or variable that models.*.api_key names; then: ", Command("up"))
_RATE = Hint("lower the load or components.lightrag-api.batching.in_flight, or raise the quota at the provider")
_LATE = Hint("see the server of the model; raise components.lightrag-api.deadlines if it is expected to be slow")
_SERVER = Hint("see the log of the model's server, and of ", Command("logs", "model-gateway"))
_REQUEST = Hint("check models.*.name and url in the profile: is the model served there under this name?")

_CREDIT_FIX = Hint("add credit or raise the spending limit at the provider, or use another key: models.*.api_key")
_FOREIGN = Hint(
    "check models.*.url in the profile: it is the base address of an OpenAI API, without /v1; a proxy or a login page "
    "may answer instead: curl -i URL/v1/models"
)

_call = partial(
    Check,
    category=Category.MODELS,
    severity=_ERROR,
    needs=(MODELS, DEPLOYED),
    symptoms=(UNAVAILABLE, SLOW),
    stops=True,
)
_check = partial(Check, category=Category.MODELS)

CHECKS = (
    _call(
        code="LR301",
        title="the models' endpoints can be reached",
        judge=_failed("unreachable", "the {kind} endpoint {where} cannot be reached", _UNREACHABLE),
        fix=_UNREACHABLE,
    ),
    _call(
        code="LR302",
        title="the models' endpoints accept the key",
        judge=_failed("key", "the {kind} endpoint {where} refuses the key", _KEY),
        fix=_KEY,
    ),
    _call(
        code="LR303",
        title="the models' endpoints do not limit the rate",
        judge=_failed("rate", "the {kind} endpoint {where} limits the rate of requests (429)", _RATE),
        fix=_RATE,
    ),
    _call(
        code="LR304",
        title="the models answer in time",
        judge=_failed("late", "the {kind} endpoint {where} does not answer in time", _LATE),
        fix=_LATE,
    ),
    _call(
        code="LR305",
        title="the models' endpoints do not fail",
        judge=_failed("server", "the {kind} endpoint {where} fails", _SERVER),
        fix=_SERVER,
    ),
    _call(
        code="LR306",
        title="the models' endpoints know the models",
        judge=_failed("request", "the {kind} endpoint {where} refuses requests for '{model}'", _REQUEST),
        fix=_REQUEST,
    ),
    _call(
        code="LR307",
        title="embeddings have the profile's dimension",
        judge=_dimension,
        fix=Hint("make the profile and the model agree"),
        symptoms=(WRONG, UNAVAILABLE),
    ),
    _call(
        code="LR308",
        title="embeddings are finite and not zero",
        judge=_empty,
        fix=Hint("fix the model server, then load the affected documents again: ", Command("ingest", "PATH")),
        symptoms=(WRONG,),
    ),
    _call(
        code="LR314",
        title="the models' endpoints speak the OpenAI API",
        judge=_failed("foreign", "the {kind} endpoint {where} answers, but not as the OpenAI API", _FOREIGN),
        fix=_FOREIGN,
    ),
    _call(
        code="LR315",
        title="the accounts at the models' endpoints have credit",
        judge=_failed("credit", "the account at the {kind} endpoint {where} has no credit left", _CREDIT_FIX),
        fix=_CREDIT_FIX,
    ),
    _check(
        code="LR309",
        title="embedding a text is quick",
        severity=_WARNING,
        needs=(MODELS, THRESHOLDS),
        judge=_slow,
        fix=Hint("give the model's server more resources"),
        symptoms=(SLOW,),
        explains=("LR202", "LR215"),
    ),
    _check(
        code="LR310",
        title="the circuit breakers of the models are closed",
        severity=_ERROR,
        needs=(METRICS,),
        judge=_breakers,
        fix=Hint("see why the model does not answer: ", Command("logs", "lightrag-api")),
        symptoms=(UNAVAILABLE, SLOW),
        explains=("LR201",),
    ),
    _check(
        code="LR311",
        title="the queues of the model servers are short",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_waiting,
        fix=Hint("add replicas of the model server, or lower the load: components.model-server.servers"),
        symptoms=(SLOW,),
        explains=("LR309",),
    ),
    _check(
        code="LR312",
        title="the model servers' KV caches are not full",
        severity=_WARNING,
        needs=(METRICS, THRESHOLDS),
        judge=_cache,
        fix=Hint("lower the context length, or add replicas"),
        symptoms=(SLOW, UNAVAILABLE),
    ),
    _check(
        code="LR313",
        title="the cluster has the requested GPUs",
        severity=_ERROR,
        needs=(NODES, WORKLOADS),
        judge=_no_gpu,
        fix=Hint("install the NVIDIA device plugin, or add GPU nodes: kubectl describe nodes"),
        symptoms=(UNAVAILABLE,),
        stops=True,
        follows=False,
        explains=("LR138",),
    ),
)
