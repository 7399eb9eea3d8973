"""Restores collections of a backup under new names, and verifies them there. Does I/O.

Each function names its target and may be called again after an interruption. Nothing that has a name already is
changed or deleted.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from lightragctl.backup import answers
from lightragctl.backup.belonging import is_control
from lightragctl.backup.chain import Chain
from lightragctl.backup.graph import GRAPH_FILE, names_in_csv, sample_of_entities, sample_of_names, without_vectors
from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.backup.progress import Progress
from lightragctl.core.errors import LightragctlError, RefusedError
from lightragctl.core.settings import EmbeddingModel
from lightragctl.core.stores import GRAPH_NODES
from lightragctl.release.workspace_tables import TableRows
from lightragctl.vectors.control import ModelIdentity, model_key, settings_difference
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.rows import RowBatch, row_hashes
from lightragctl.vectors.schema import CollectionSchema, fitted, server
from lightragctl.vectors.store import CollectionStore

_SPOOLED_BYTES = 8 * 1024 * 1024

Watch = Callable[[Iterable[RowBatch]], None]
"""Takes all rows of a collection, each once."""


@dataclass(frozen=True)
class Expected:
    """What a copy of a collection must have: the original's schema, number of rows and digest of their hashes.

    An empty digest is not compared, as for a copy on a server that cannot hold all of a row.
    """

    schema: CollectionSchema
    unique_keys: int
    digest: str


def new_names(collections: Sequence[str], token: str) -> dict[str, str]:
    """A new name for each collection, which neither we nor lightrag-server take for one of a workspace.

    Args:
        collections: physical names.
        token: letters and digits that tell this copy from others.
    """
    return {name: f"restore_{token}_{number}" for number, name in enumerate(sorted(collections), 1)}


def check_model(chain: Chain, model: EmbeddingModel) -> None:
    """Does nothing when the backup's vectors are of this embedding model, as far as the backup knows its own.

    Raises:
        RefusedError: it has another name, dimension or prefix.
    """
    for entry in chain.manifest.collections:
        if is_control(entry.name):
            _check_identity(_identities(chain, entry.name), chain.manifest.id, model)


def write_collection(
    rows: Iterable[RowBatch], schema: CollectionSchema, store: CollectionStore, name: str, progress: Progress
) -> None:
    """Writes rows into a new collection with the indexes of the schema, and waits until they are built.

    Written again, rows take the place of those with the same key.

    Args:
        rows: of a backup, or of another collection.
        schema: of the original. What the server cannot hold is left out; see `losses`.
        store: takes them.
        name: of the new collection.
        progress: counts the rows.
    """
    store.create_from(fitted(schema, server(store.server_version())), name)
    store.write_rows(name, rows, lambda batch: progress.add(name, len(batch), batch.size_bytes))
    store.flush(name)
    store.load(name)


def expected(chain: Chain, name: str) -> Expected:
    """What a restored collection must have."""
    entry = chain.manifest.collection(name)
    if entry is None:
        raise InvalidBackupError(f"backup {chain.manifest.id} has no collection {name}")
    return Expected(chain.definition(name), entry.unique_keys, entry.digest)


def copied_rows(store: CollectionStore, name: str, schema: CollectionSchema) -> Iterator[RowBatch]:
    """All rows of a collection, by partition and key: what `write_collection` takes for a clone."""
    for scope in sorted(schema.scopes):
        yield from store.read_rows(name, schema, partition=scope)


def read_through(batches: Iterable[RowBatch]) -> None:
    """Takes rows, for nothing but their hashes."""
    for _ in batches:
        pass


def measure(
    store: CollectionStore, name: str, schema: CollectionSchema, progress: Progress, watch: Watch = read_through
) -> Expected:
    """What a collection has now: every row is read and hashed by a schema, its own or that of the original.

    `watch` takes the rows as they pass, all of them.
    """
    seen, count = hashlib.sha256(), 0

    def passing() -> Iterator[RowBatch]:
        nonlocal count
        for batch in copied_rows(store, name, schema):
            seen.update(b"".join(row_hashes(batch, schema)))
            count += len(batch)
            progress.add(name, len(batch), batch.size_bytes)
            yield batch

    with loaded(store, name):
        watch(passing())
    return Expected(schema, count, seen.hexdigest())


def compare(
    store: CollectionStore, name: str, wanted: Expected, progress: Progress, watch: Watch = read_through
) -> list[str]:
    """How a copy differs from what it must have, one sentence each; `watch` as for `measure`."""
    found = measure(store, name, wanted.schema, progress, watch)
    if found.unique_keys != wanted.unique_keys:
        return [f"{name} has {found.unique_keys} rows, {wanted.schema.name} had {wanted.unique_keys}"]
    if wanted.digest and found.digest != wanted.digest:
        return [f"rows of {name} differ from those of {wanted.schema.name}: the digests of their hashes differ"]
    return []


def entities(chain: Chain) -> dict[str, str]:
    """Some entities of the backup's graph: name by id; none when it has no graph.

    Raises:
        InvalidBackupError: the graph is damaged, or no GraphML.
    """
    archive = chain.links[0].archive
    if found := [one for one in chain.manifest.tables if one.name == GRAPH_NODES]:
        with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as rows:
            archive.read_stream(found[0], rows)
            rows.seek(0)
            return sample_of_names(names_in_csv(rows))
    file = next((one for one in chain.manifest.files if one.name.rpartition("/")[2] == GRAPH_FILE), None)
    if file is None:
        return {}
    with tempfile.SpooledTemporaryFile(_SPOOLED_BYTES) as graph:
        archive.read_stream(file, graph)
        graph.seek(0)
        return sample_of_entities(graph)


def entities_of_rows(tables: Iterable[TableRows]) -> dict[str, str]:
    """Some entities of the graph in the tables of PostgreSQL: name by id."""
    for one in tables:
        if one.name == GRAPH_NODES:
            with one.open() as rows:
                return sample_of_names(names_in_csv(rows))
    return {}


def entities_without_vectors(sample: dict[str, str], store: CollectionStore, collection: str) -> list[str]:
    """The names of entities whose vectors a collection lacks."""
    with loaded(store, collection):
        return without_vectors(sample, set(store.get(collection, list(sample), [])))


def known_answers(chain: Chain) -> answers.Answers | None:
    """The searches with known answers of a backup; None when it has none."""
    file = chain.manifest.answers
    return answers.parse(chain.json(file.path)) if file else None


def check_answers(
    schemas: Mapping[str, CollectionSchema],
    known: answers.Answers,
    names: Mapping[str, str],
    search: answers.Search,
    nearest: Mapping[str, Sequence[Sequence[str]]] | None = None,
) -> list[answers.Agreement]:
    """How the copies answer the searches with known answers.

    Args:
        schemas: of the originals.
        known: the searches, by the names of the originals.
        names: of the copies, by the name of the original.
        search: in the store of the copies.
        nearest: the keys of the nearest rows of each search, by the name of the original, where they are known.

    Raises:
        InvalidBackupError: there is no collection for a search, or its vectors are of another dimension.
    """
    found = []
    for original in known.collections:
        if original not in schemas or original not in names:
            raise InvalidBackupError(f"the known answers are of collection {original}, which the backup does not have")
        schema = schemas[original]
        vectors = answers.vectors(known, original, _dimension(schema))
        hits = search(names[original], schema, vectors, known.top_k)
        found.append(answers.compare(known, original, hits, (nearest or {}).get(original)))
    return found


def _identities(chain: Chain, control: str) -> dict[str, ModelIdentity]:
    """The embedding models that a control collection knows, by row."""
    found = {}
    for batch in chain.rows(control):
        for key, value in zip(batch.keys, batch.columns["value"], strict=True):
            if str(key).startswith("model:"):
                try:
                    found[str(key)] = msgspec.json.decode(value, type=ModelIdentity)
                except msgspec.DecodeError as error:
                    raise InvalidBackupError(f"row {key} of {control} cannot be read: {error}") from error
    return found


def _check_identity(known: dict[str, ModelIdentity], id: str, model: EmbeddingModel) -> None:
    if not known:
        return
    identity = known.get(model_key(model))
    difference = settings_difference(identity, model) if identity else f"it knows {', '.join(sorted(known))}"
    if difference:
        raise RefusedError(
            f"the vectors of backup {id} are of another embedding model than {model.name}: {difference}",
            "restore it into a release whose profile has the same model",
        )


def _dimension(schema: CollectionSchema) -> int:
    field = schema.field("vector")
    if field is None or field.dimension is None:
        raise LightragctlError(f"collection {schema.name} has no vectors to search for")
    return field.dimension
