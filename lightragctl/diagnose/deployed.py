"""The release as it was brought up, from the values that its record holds. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightragctl.components import all_components
from lightragctl.core.errors import LightragctlError
from lightragctl.core.quantity import quantity
from lightragctl.core.settings import EmbeddingModel
from lightragctl.core.urls import shown
from lightragctl.diagnose.model import Deployed, PartOf

Values = Mapping[str, Any]


def deployed(release: str, profile: str, values: Values, names: Sequence[str], at: float) -> Deployed:
    """The release, from its profile's values as plain data; what they leave out has the defaults of `Deployed`.

    Args:
        release, profile: their names.
        values: of the profile.
        names: of the components that run.
        at: the present time in unix seconds.
    """
    embedding, chat, index = (_at(values, *path) for path in (("models", "embedding"), ("models", "chat"), ("index",)))
    model = EmbeddingModel(**{key: value for key, value in embedding.items() if key in EmbeddingModel.model_fields})
    return Deployed(
        release=release,
        profile=profile,
        runtime=str(values.get("runtime", "")),
        at=at,
        namespace=str(values.get("namespace", "")),
        production=bool(values.get("production")),
        workspace=str(values.get("workspace", "default")),
        model=model.name,
        dimension=model.dimension,
        suffix=model.suffix,
        query_prefix=model.query_prefix,
        document_prefix=model.document_prefix,
        embedding_at=_served_at(embedding),
        chat_model=str(chat.get("name", "mock-llm")),
        chat_at=_served_at(chat),
        index_type=str(index.get("type", "")),
        metric=str(index.get("metric", "")),
        backs_up=bool(_at(values, "backup").get("destination")),
        components=_parts(values, names),
        **_numbers(values),
    )


def _at(values: Values, *path: str) -> Values:
    for step in path:
        found = values.get(step)
        values = found if isinstance(found, Mapping) else {}
    return values


def _served_at(model: Values) -> str:
    """Where another server serves the model; empty when the release's own does."""
    return shown(str(model.get("url") or "")) or str(model.get("server") or "")


def _parts(values: Values, names: Sequence[str]) -> dict[str, PartOf]:
    known = {one.name: one for one in all_components()}
    sections, offset = _at(values, "components"), 0
    if values.get("runtime") == "local":
        offset = int(_at(values, "local").get("port_offset") or 0)
    return {
        name: PartOf(
            [one for one in known[name].requires if one in names],
            [one for one in known[name].calls if one in names],
            int(_at(sections, name).get("port") or 0) + offset,
            known[name].store,
        )
        for name in names
        if name in known
    }


def _numbers(values: Values) -> dict[str, Any]:
    """Deadlines in seconds, sizes in bytes."""
    api, engine = _at(values, "components", "lightrag-api"), _at(values, "components", "vector-engine")
    kafka, etcd = _at(values, "components", "kafka"), _at(values, "components", "etcd")
    deadlines, cache = _at(api, "deadlines"), _at(api, "cache")
    found: dict[str, Any] = {
        name: float(deadlines[name]) for name in ("request_s", "search_s", "embed_s") if name in deadlines
    }
    found["queue"] = int(_at(api, "batching").get("queue") or 0)
    found["cache_bytes"] = sum(int(cache.get(name) or 0) for name in ("result_bytes", "embedding_bytes"))
    found["api_memory_bytes"] = _memory(api)
    found["query_memory_bytes"] = _query_memory(engine)
    found["jvm_heap_bytes"] = _bytes(str(kafka.get("heap") or "0"))
    found["jvm_memory_bytes"] = _memory(kafka)
    found["etcd_quota_bytes"] = int(etcd.get("quota_bytes") or 0)
    return found


def _query_memory(engine: Values) -> int:
    """What all query nodes together may use: of several pods those of that role, else the one server's."""
    if engine.get("topology") != "cluster":
        return _memory(engine)
    node = _at(engine, "roles", "querynode")
    least = _at(node, "autoscale").get("min") or node.get("replicas") or 1
    return _memory(node) * int(least)


def _memory(section: Values) -> int:
    return _bytes(str(_at(section, "resources", "limits").get("memory") or "0"))


def _bytes(amount: str) -> int:
    """An amount as Kubernetes or the JVM writes it; 0 when it is neither."""
    text = amount[:-1] + {"k": "Ki", "K": "Ki", "m": "Mi", "g": "Gi"}.get(amount[-1:], amount[-1:])
    try:
        return int(quantity(text))
    except (ValueError, ArithmeticError, LightragctlError):
        return 0
