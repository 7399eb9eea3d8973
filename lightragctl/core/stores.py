"""Where lightrag-server keeps the part of a workspace that is not vectors: its variables and PostgreSQL's tables. Pure.

The tables are those of LightRAG 1.5 (`lightrag/kg/postgres_impl.py` and `pgtable_impl.py`). Each has a column
`workspace`; all workspaces of a database are in the same tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VECTORS = "LIGHTRAG_VECTOR_STORAGE"
OTHER_WORKSPACE = "POSTGRES_WORKSPACE"
"""Upstream's variable that has PostgreSQL's stores serve another workspace than the other stores."""
PASSWORD = "POSTGRES_PASSWORD"
_TLS = {
    "POSTGRES_SSL_MODE": "sslmode",
    "POSTGRES_SSL_CERT": "sslcert",
    "POSTGRES_SSL_KEY": "sslkey",
    "POSTGRES_SSL_ROOT_CERT": "sslrootcert",
    "POSTGRES_SSL_CRL": "sslcrl",
}
_SERVER_SETTINGS = "POSTGRES_SERVER_SETTINGS"


@dataclass(frozen=True)
class Table:
    """A table of PostgreSQL.

    Attributes:
        name: in lower case, as PostgreSQL has it.
        key: the columns of its primary key, without `workspace`.
        is_parent: another table has foreign keys to it.
    """

    name: str
    key: tuple[str, ...] = ("id",)
    is_parent: bool = False


@dataclass(frozen=True)
class StoreKind:
    """A store that lightrag-server has beside its vectors.

    Attributes:
        variable: upstream's, which chooses it.
        about: what it stores.
        files, postgres: the choices that can be copied: files, which are the default, and tables.
        tables: of the latter; one with foreign keys comes after the table that they refer to.
    """

    variable: str
    about: str
    files: str
    postgres: str
    tables: tuple[Table, ...]


KINDS = (
    StoreKind(
        "LIGHTRAG_KV_STORAGE",
        "key-value store",
        "JsonKVStorage",
        "PGKVStorage",
        (
            Table("lightrag_doc_full"),
            Table("lightrag_doc_chunks"),
            Table("lightrag_llm_cache"),
            Table("lightrag_full_entities"),
            Table("lightrag_full_relations"),
            Table("lightrag_entity_chunks"),
            Table("lightrag_relation_chunks"),
        ),
    ),
    StoreKind(
        "LIGHTRAG_DOC_STATUS_STORAGE",
        "document status store",
        "JsonDocStatusStorage",
        "PGDocStatusStorage",
        (Table("lightrag_doc_status"),),
    ),
    StoreKind(
        "LIGHTRAG_GRAPH_STORAGE",
        "graph store",
        "NetworkXStorage",
        "PGTableGraphStorage",
        (
            Table("lightrag_graph_nodes", ("namespace", "id"), is_parent=True),
            Table("lightrag_graph_edges", ("namespace", "src_id", "tgt_id")),
        ),
    ),
)
GRAPH_NODES = "lightrag_graph_nodes"
"""The table of the entities of the graph; `id` is an entity's name."""
DOCUMENTS, LOCATION = "lightrag_doc_full", "sidecar_location"
"""The table and its column that holds absolute paths: where what was parsed of an upload is, as `file://`."""


def chosen(kind: StoreKind, environment: Mapping[str, Any]) -> str:
    """The name of the store of a kind; a store that is named by a secret has none that can be shown."""
    found = environment.get(kind.variable, kind.files)
    return found if isinstance(found, str) else "a store that a Secret names"


def in_postgres(environment: Mapping[str, Any]) -> tuple[StoreKind, ...]:
    """The stores that are tables of PostgreSQL."""
    return tuple(kind for kind in KINDS if chosen(kind, environment) == kind.postgres)


def kind_of_table(name: str) -> StoreKind | None:
    """The store that a table belongs to; None for a table that is no store's."""
    return next((kind for kind in KINDS if any(table.name == name for table in kind.tables)), None)


def uncopyable(environment: Mapping[str, Any]) -> tuple[str, str] | None:
    """The variable that keeps a part of the workspace where it cannot be copied, and why; None if there is none."""
    for kind in KINDS:
        store = chosen(kind, environment)
        if store not in (kind.files, kind.postgres):
            return kind.variable, f"the {kind.about} of lightrag-server is {store}"
    vectors = environment.get(VECTORS, "MilvusVectorDBStorage")
    if vectors != "MilvusVectorDBStorage":
        return VECTORS, f"the vectors of lightrag-server are in {vectors}, not in Milvus"
    if in_postgres(environment) and OTHER_WORKSPACE in environment:
        return OTHER_WORKSPACE, "the rows in PostgreSQL are of another workspace than the vectors"
    return None


@dataclass(frozen=True)
class Database:
    """A database of PostgreSQL, and who logs in.

    Attributes:
        tls: parameters of libpq, such as `sslmode`.
        settings: of the session, such as `search_path`.
    """

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    tls: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """For messages: HOST:PORT/DATABASE."""
        return f"{self.host}:{self.port}/{self.name}"


VARIABLES = (
    *("POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_DATABASE", "POSTGRES_USER", PASSWORD),
    *(*_TLS, _SERVER_SETTINGS),
)
"""What upstream reads to find its database, and we too."""


def database(environment: Mapping[str, str]) -> Database:
    """The database by upstream's variables, with upstream's defaults; an empty password when there is none.

    Raises:
        ValueError: the port is not a number.
    """
    pairs = [pair.partition("=") for pair in environment.get(_SERVER_SETTINGS, "").split("&")]
    return Database(
        host=environment.get("POSTGRES_HOST", "localhost"),
        port=int(environment.get("POSTGRES_PORT", "5432")),
        name=environment.get("POSTGRES_DATABASE", "postgres"),
        user=environment.get("POSTGRES_USER", "postgres"),
        password=environment.get(PASSWORD, ""),
        tls={key: environment[variable] for variable, key in _TLS.items() if variable in environment},
        settings={name: value for name, is_set, value in pairs if is_set},
    )
