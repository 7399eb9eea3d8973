"""Whether the entities of a graph have vectors: names from GraphML or CSV, ids as lightrag-server makes them. Pure."""

import csv
import hashlib
import heapq
import io
from collections.abc import Iterable, Iterator
from typing import IO
from xml.etree.ElementTree import ParseError, iterparse

from lightragctl.backup.manifest import InvalidBackupError

GRAPH_FILE = "graph_chunk_entity_relation.graphml"
"""The name of the file that lightrag-server keeps a workspace's graph in."""
_NODE = "{http://graphml.graphdrawing.org/xmlns}node"
SAMPLE_NODES = 500
_MOST_FIELD = 1024 * 1024 * 1024
"""Characters of a value in CSV; a value of PostgreSQL has at most a gigabyte."""


def entity_id(name: str) -> str:
    """The id of the row of an entity's vector (LightRAG 1.5: `compute_mdhash_id` with the prefix `ent-`)."""
    return "ent-" + hashlib.md5(name.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()


def sample_of_entities(graph: IO[bytes]) -> dict[str, str]:
    """At most `SAMPLE_NODES` entities of a graph, the same ones each time: name by id.

    Raises:
        InvalidBackupError: it is no GraphML.
    """
    return sample_of_names(_names(graph))


def sample_of_names(names: Iterable[str]) -> dict[str, str]:
    """At most `SAMPLE_NODES` of the names of entities, the same ones each time: name by id."""
    return dict(heapq.nsmallest(SAMPLE_NODES, ((entity_id(name), name) for name in names)))


def names_in_csv(rows: IO[bytes]) -> Iterator[str]:
    """The names of entities in the CSV of the graph's table."""
    csv.field_size_limit(_MOST_FIELD)
    for row in csv.DictReader(io.TextIOWrapper(rows, "utf-8", newline="")):
        yield row["id"]


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
