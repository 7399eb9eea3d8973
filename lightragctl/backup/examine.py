"""Whether a workspace can be copied to a place, before anything is written. Reads a store and a backup."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lightragctl.backup import moves, restore
from lightragctl.backup.belonging import is_control
from lightragctl.backup.catalog import check_objects
from lightragctl.backup.moves import Moves, Renamed
from lightragctl.backup.origin import BackupOrigin, Origin
from lightragctl.backup.site import Site, Work
from lightragctl.core.errors import RefusedError
from lightragctl.core.stores import KINDS
from lightragctl.release.saved_configuration import to_recreate
from lightragctl.release.workspace_files import STORAGE
from lightragctl.release.writers import WRITER
from lightragctl.vectors.control import chunks_alias
from lightragctl.vectors.copying import loaded
from lightragctl.vectors.schema import uncopyable

_GROWTH = 3
"""Bytes that a store takes for one of a backup: vectors do not shrink, texts by four, and the store compacts later."""
_MARGIN_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True)
class Examined:
    """What a copy would do.

    Attributes:
        rows: how many there are, about.
        collections: the names that the copies get.
        exists: whether there is a target workspace, be it empty.
        replaced: collections of the target workspace that have rows, which become old data.
        losses: what the server or the release cannot hold, one sentence each.
        secrets: what must be recreated for a release like that of the backup, `NAME (KEYS)`.
    """

    rows: int
    collections: tuple[str, ...]
    exists: bool
    replaced: tuple[str, ...]
    losses: tuple[str, ...]
    secrets: tuple[str, ...]


def examine(work: Work, token: str) -> Examined:
    """What a copy would do; reads no data.

    Raises:
        InvalidBackupError: an object of the backup is missing or has another size.
        RefusedError: the vectors are of another model, a field cannot be copied, there is no space, or a name is taken.
    """
    origin, site = work.origin, work.site
    if isinstance(origin, BackupOrigin):
        for link in origin.chain.links:
            check_objects(link.archive.storage, link.manifest)
        restore.check_model(origin.chain, site.model)
    _check_collections(origin, site)
    _check_space(origin, site)
    _check_stores(origin, site)
    planned = plan_moves(work, restore.new_names(list(origin.schemas), token), token)
    return Examined(
        rows=origin.row_total,
        collections=tuple(one.name for one in planned.news) + ((planned.control,) if planned.control_copy else ()),
        exists=bool(site.collections),
        replaced=replaced(site),
        losses=tuple(_losses(origin, site)),
        secrets=tuple(_secrets(origin)),
    )


def replaced(site: Site) -> tuple[str, ...]:
    """The collections of the target workspace that have rows, which become old data."""
    return tuple(name for name in site.collections if not is_control(name) and _has_rows(site, name))


def plan_moves(work: Work, copies: Mapping[str, str], token: str) -> Moves:
    """The renames that put the copies in place.

    Raises:
        RefusedError: a name is taken.
    """
    store, schemas = work.site.store, work.origin.schemas
    pairs = {name: (copies[name], schema) for name, schema in schemas.items()}
    there = {name: store.describe(name).aliases for name in store.list_collections()}
    free = {name: aliases for name, aliases in there.items() if name not in set(copies.values())}
    return moves.plan(Renamed(work.origin.workspace, work.site.workspace), pairs, free, work.site.collections, token)


def read_all(origin: Origin, report: Callable[[int, int], None]) -> None:
    """Read every object of a backup and compare its SHA-256; `report` gets bytes, and how many there are.

    Raises:
        InvalidBackupError: one is damaged.
    """
    if not isinstance(origin, BackupOrigin):
        return
    links = origin.chain.links
    total, done = sum(link.manifest.size_bytes for link in links), 0
    for link in links:
        for one in link.manifest.stored():
            link.archive.check(one)
            done += one.size_bytes
            report(done, total)


def _check_collections(origin: Origin, site: Site) -> None:
    if reasons := [f"{name}: {reason}" for name, schema in origin.schemas.items() for reason in uncopyable(schema)]:
        raise RefusedError(f"workspace '{origin.workspace}' cannot be copied: {'; '.join(reasons)}")
    chunks = {
        one: schema
        for name, schema in origin.schemas.items()
        for one in (name, *schema.aliases)
        if one.startswith(f"{origin.workspace}_chunks_") and not is_control(one)
    }
    wanted = chunks_alias(origin.workspace, site.model)
    if chunks and not any(one.startswith(wanted) for one in chunks):
        message = f"the vectors of workspace '{origin.workspace}' are of another embedding model than {site.model.name}"
        raise RefusedError(
            f"{message} with {site.model.dimension} dimensions: there is no {wanted} among {', '.join(sorted(chunks))}",
            "restore it into a release whose profile has the same model",
        )


def _check_space(origin: Origin, site: Site) -> None:
    if site.free_bytes is None or not isinstance(origin, BackupOrigin):
        return
    needed = _GROWTH * sum(link.manifest.size_bytes for link in origin.chain.links) + _MARGIN_BYTES
    if needed > site.free_bytes:
        message = f"the copy needs up to {needed / 1e9:.1f} GB, and {site.free_bytes / 1e9:.1f} GB are free"
        raise RefusedError(message, "free some space")


def _check_stores(origin: Origin, site: Site) -> None:
    """Refuse stores that would be empty: lightrag-server reads the ones that it is set to, files or tables."""
    if site.files is None:
        return
    names = [name for name, _ in origin.files() if name.startswith(f"{STORAGE}/")]
    if not names and not origin.table_columns:
        return  # of a release without lightrag-server
    here = {kind.variable for kind in site.tables.kinds} if site.tables else set()
    for kind in KINDS:
        was = any(table.name in origin.table_columns for table in kind.tables)
        if was != (kind.variable in here):
            before, now = (kind.postgres, kind.files) if was else (kind.files, kind.postgres)
            raise RefusedError(
                f"the {kind.about} of workspace '{origin.workspace}' was {before}, and is {now} in this release",
                f"set components.{WRITER}.environment.{kind.variable} to {before}",
            )


def _has_rows(site: Site, name: str) -> bool:
    with loaded(site.store, name):
        return site.store.row_count(name) > 0


def _losses(origin: Origin, site: Site) -> Sequence[str]:
    found = [f"{name}: {loss}" for name, lost in origin.losses(site.store).items() for loss in lost]
    count = sum(1 for _ in origin.files())
    if count and site.files is None:
        found.append(f"{count} files of lightrag-server, with its graph: this release has no lightrag-server")
    if origin.table_columns and site.files is None:
        found.append(f"{len(origin.table_columns)} tables of PostgreSQL: this release has no {WRITER}")
    return found


def _secrets(origin: Origin) -> Sequence[str]:
    document = origin.document("configuration.json") if isinstance(origin, BackupOrigin) else {}
    needed = to_recreate(document) if document else []
    return [f"{one.name} ({', '.join(one.keys)})" if one.keys else one.name for one in needed]
