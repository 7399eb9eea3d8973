"""Whether the entities of a graph have vectors: names from a GraphML file, ids as lightrag-server makes them. Pure."""

import hashlib
import heapq
from collections.abc import Iterator
from typing import IO
from xml.etree.ElementTree import ParseError, iterparse

from lightragctl.backup.manifest import InvalidBackupError

GRAPH_FILE = "graph_chunk_entity_relation.graphml"
"""The name of the file that lightrag-server keeps a workspace's graph in."""
_NODE = "{http://graphml.graphdrawing.org/xmlns}node"
SAMPLE_NODES = 500


def entity_id(name: str) -> str:
    """The id of the row of an entity's vector (LightRAG 1.5: `compute_mdhash_id` with the prefix `ent-`)."""
    return "ent-" + hashlib.md5(name.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def sample_of_entities(graph: IO[bytes]) -> dict[str, str]:
    """At most `SAMPLE_NODES` entities of a graph, the same ones each time: name by id.

    Raises:
        InvalidBackupError: it is no GraphML.
    """
    chosen = heapq.nsmallest(SAMPLE_NODES, ((entity_id(name), name) for name in _names(graph)))
    return dict(chosen)


def without_vectors(entities: dict[str, str], stored: set[str]) -> list[str]:
    """The names of entities whose ids are not among those that are stored."""
    return sorted(name for id, name in entities.items() if id not in stored)


def _names(graph: IO[bytes]) -> Iterator[str]:
    try:
        for _, element in iterparse(graph):
            if element.tag == _NODE:
                yield element.get("id", "")
                element.clear()
    except ParseError as error:
        raise InvalidBackupError(f"{GRAPH_FILE} is not valid GraphML: {error}") from error
