"""The manifest of a backup, format 1: what is in it, with sizes and SHA-256; hostile input is refused. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lightragctl.core.errors import LightragctlError, RefusedError

FORMAT: Literal[1] = 1
MANIFEST_NAME = "manifest.json"
DRAFT_NAME = "draft.json"
"""The manifest of a backup that is not committed yet."""
STARTED_NAME = "started.json"
MOST_MANIFEST_BYTES = 64 * 1024 * 1024
"""A manifest of 100,000 parts has 20 MB."""
MOST_PART_BYTES = 256 * 1024 * 1024
"""A part is read into memory as a whole; those that are written have about 4 MB."""
MOST_PART_ROWS = 10_000_000
_MOST_DEPTH = 32
_NAME_BYTES = 1024
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_PATH = re.compile(r"[\w\-.+=@~/]+", re.ASCII)


class InvalidBackupError(LightragctlError):
    """A backup cannot be read: a file is damaged, missing, or does not say what the format wants."""

    code = "invalid-backup"


def object_path(folder: str, name: str, number: int) -> str:
    """Where a file of the workspace is kept: under its own name when any store can have it, else under its number."""
    path = f"{folder}/{name}"
    return path if _PATH.fullmatch(path) and not name.startswith("_") else f"{folder}/_{number:06d}"


def is_backup_id(text: str) -> bool:
    """Whether a name in a destination can be that of a backup."""
    if not _ID.fullmatch(text):
        return False
    try:
        datetime.strptime(text[:15], "%Y%m%dT%H%M%S")
    except ValueError:
        return False
    return True


def backup_id(now: datetime, random_hex: str) -> str:
    """The id of a backup that starts now (UTC); ids sort by time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{random_hex}"


def check_file_name(name: str) -> str:
    """The relative name of a file, when it stays below the folder that it is resolved in.

    Raises:
        ValueError: it is absolute, leads out of the folder, is too long, or is no UTF-8.
    """
    if "\0" in name or any(segment in ("", ".", "..") for segment in name.split("/")):
        raise ValueError(f"{name[:80]!r} is not a relative name below the backup")
    if len(name.encode("utf-8")) > _NAME_BYTES:
        raise ValueError(f"{name[:80]!r} has more than {_NAME_BYTES} bytes")
    return name


def _check_path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path[:80]!r} has characters other than letters, digits and -_.+=@~ between its slashes")
    return check_file_name(path)


Relative = Annotated[str, AfterValidator(_check_path)]
FileName = Annotated[str, AfterValidator(check_file_name)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Text = Annotated[str, Field(max_length=4096)]
Id = Annotated[str, Field(pattern=rf"^{_ID.pattern}$")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class _Strict(BaseModel):
    """Unknown keys and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StoredFile(_Strict):
    """An object of the backup: where it is, and its bytes as they are stored (encrypted ones as such)."""

    path: Relative
    size_bytes: Count
    sha256: Digest


class Part(StoredFile):
    """A Parquet file with rows of one partition, ascending by primary key."""

    size_bytes: Annotated[int, Field(ge=0, le=MOST_PART_BYTES)]
    rows: Annotated[int, Field(ge=0, le=MOST_PART_ROWS)]
    partition: Text


class CollectionEntry(_Strict):
    """One collection.

    Attributes:
        name: its physical name in the store.
        definition: fields, indexes, aliases, partitions and properties.
        incremental: whether the parent's rows count too; else this backup has all rows.
        rows: how many the collection had, those with the same primary key counted each.
        unique_keys: primary keys in the collection.
        digest: SHA-256 over the row hashes of the whole collection, by partition and then by primary key.
        parts: rows that are new or changed since the parent; all rows in a full backup.
        index: primary key and row hash of each of these; a key without a hash was deleted since the parent.
        changed_rows, deleted_rows: how many these are.
        nulls: fields that are null in some row of the collection.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")]
    definition: dict[str, Any]
    incremental: bool
    rows: Count
    unique_keys: Count
    digest: Digest
    parts: Annotated[tuple[Part, ...], Field(strict=False)]
    index: Annotated[tuple[Part, ...], Field(strict=False)]
    changed_rows: Count
    deleted_rows: Count
    nulls: Annotated[tuple[Text, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _adds_up(self) -> "CollectionEntry":
        if sum(part.rows for part in self.parts) != self.changed_rows:
            raise ValueError(f"the parts of {self.name} do not have {self.changed_rows} rows")
        if sum(part.rows for part in self.index) != self.changed_rows + self.deleted_rows:
            raise ValueError(f"the index of {self.name} does not have {self.changed_rows + self.deleted_rows} keys")
        if not self.incremental and (self.deleted_rows or self.changed_rows != self.unique_keys):
            raise ValueError(f"{self.name} is not incremental and does not have all its rows")
        return self


class FileEntry(StoredFile):
    """A file of the workspace under the relative name that it had."""

    name: FileName


class TableEntry(StoredFile):
    """The rows of the workspace in a table of PostgreSQL, as CSV.

    Attributes:
        name: of the table.
        columns: of the CSV, in their order; `workspace` is none of them.
        rows: how many.
        digest: SHA-256 of the CSV before it is encrypted.
    """

    name: Annotated[str, Field(pattern=r"^lightrag_[a-z_]{1,54}$")]
    columns: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=63)], ...], Field(strict=False)]
    rows: Count
    digest: Digest


class Consistency(_Strict):
    """How the backup is known to be of one moment.

    Attributes:
        method: `fence`: writes were blocked; `stable-scan`: two passes over all data agreed.
        passes: over all data.
        from_time, to_time: while the data were read (UTC).
        writer_stopped_s: how long lightrag-server was stopped for it, in seconds.
    """

    method: Literal["fence", "stable-scan"]
    passes: Annotated[int, Field(ge=1, le=100)]
    from_time: Time
    to_time: Time
    writer_stopped_s: Annotated[float, Field(ge=0)] = 0.0


class Encryption(_Strict):
    """How the other objects are encrypted: age, to a key that `key` holds, encrypted to each of the recipients."""

    method: Literal["age"]
    key: Relative
    recipients: Annotated[tuple[Text, ...], Field(strict=False)]


class Manifest(_Strict):
    """A whole backup.

    Attributes:
        parent: the backup that this one holds the changes to; None for a full one.
        parent_digest: its `content_digest`; None for a full one, and in backups of an older lightragctl.
        generation: number of backups between this one and its full one, plus one; 0 for a full one.
        server_version: of the vector store.
        tables: of PostgreSQL, where lightrag-server keeps key-value data, document status or the graph there.
        documents: configuration and versions at the time; JSON.
        answers: known-answer searches with their results; JSON.
    """

    format: Literal[1]
    id: Id
    tool: Text
    release: Text
    workspace: Text
    server_version: Text
    started_at: Time
    finished_at: Time
    parent: Id | None
    parent_digest: Digest | None = None
    generation: Annotated[int, Field(ge=0, le=1000)]
    consistency: Consistency
    encryption: Encryption | None
    collections: Annotated[tuple[CollectionEntry, ...], Field(strict=False)]
    files: Annotated[tuple[FileEntry, ...], Field(strict=False)]
    tables: Annotated[tuple[TableEntry, ...], Field(strict=False)] = ()
    documents: Annotated[tuple[FileEntry, ...], Field(strict=False)]
    answers: StoredFile | None

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if (self.parent is None) != (self.generation == 0) or self.parent == self.id:
            raise ValueError("parent and generation contradict each other")
        if self.parent is None and self.parent_digest is not None:
            raise ValueError("a full backup has the digest of a parent")
        if self.parent is None and any(one.incremental for one in self.collections):
            raise ValueError("a full backup has an incremental collection")
        for kind, names in (
            ("path", [one.path for one in self.stored()]),
            ("collection", [one.name for one in self.collections]),
            ("file", [one.name for one in self.files]),
            ("table", [one.name for one in self.tables]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"a {kind} is named twice")
        if MANIFEST_NAME in {one.path for one in self.stored()}:
            raise ValueError("the manifest refers to itself")
        return self

    def stored(self) -> list[StoredFile]:
        """Every object of the backup but the manifest and the wrapped key."""
        rows = [part for one in self.collections for part in (*one.parts, *one.index)]
        return [*rows, *self.files, *self.tables, *self.documents, *([self.answers] if self.answers else [])]

    @property
    def content_digest(self) -> str:
        """SHA-256 of the manifest without `encryption`, which `rekey` replaces: another one is of other data."""
        return _digest(self.model_dump(mode="json", exclude={"encryption"}))

    @property
    def size_bytes(self) -> int:
        """Of all objects but the manifest."""
        return sum(one.size_bytes for one in self.stored())

    def collection(self, name: str) -> CollectionEntry | None:
        """The entry of this physical name."""
        return next((one for one in self.collections if one.name == name), None)

    def to_json(self) -> bytes:
        """The manifest as it is stored."""
        return sealed(self.model_dump(mode="json"))


def sealed(document: Mapping[str, Any]) -> bytes:
    """A manifest's JSON with a `digest` of the rest, so that damage of the manifest itself is seen."""
    return json.dumps({**document, "digest": _digest(document)}, indent=1).encode()


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document as JSON with sorted keys, without white space, in ASCII."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse(data: bytes, expected_id: str) -> Manifest:
    """The manifest that stands in the folder of this id.

    Raises:
        InvalidBackupError: it is not one, names files outside the backup, or contradicts itself.
        RefusedError: it is of a newer format.
    """
    document = _object(data, expected_id)
    number = document.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise RefusedError(
            f"backup {expected_id} has format {number}; this version reads up to {FORMAT}",
            "read it with the version of lightragctl that wrote it, or with a newer one",
        )
    if document.pop("digest", None) != _digest(document):
        raise InvalidBackupError(f"the manifest of backup {expected_id} is damaged: its digest differs")
    try:
        made = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise InvalidBackupError(
            f"the manifest of backup {expected_id} is invalid: {where}: {first['msg'].removeprefix('Value error, ')}"
        ) from error
    if made.id != expected_id:
        raise InvalidBackupError(f"the manifest in folder {expected_id} is of backup {made.id}")
    return made


def _object(data: bytes, expected_id: str) -> dict[str, Any]:
    if len(data) > MOST_MANIFEST_BYTES:
        raise InvalidBackupError(f"the manifest of backup {expected_id} is larger than {MOST_MANIFEST_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBackupError(f"the manifest of backup {expected_id} is not JSON: {error}") from error
    if not isinstance(document, dict) or _depth(document) > _MOST_DEPTH:
        raise InvalidBackupError(f"the manifest of backup {expected_id} is not a JSON object of the format")
    return document


def _depth(value: Any) -> int:
    """How deep lists and maps are nested, counted only a little past the bound."""
    level, depth = [value], 0
    while level and depth <= _MOST_DEPTH:
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        ]
        depth += 1
    return depth


class CollectionSummary(_Strict):
    """A collection in a new backup: its rows, those that were written, those that are gone since its parent."""

    name: str
    rows: int
    unique_keys: int
    changed_rows: int
    deleted_rows: int
    digest: str


class Summary(_Strict):
    """What the result of `backup create` has: everything but the list of files, which may be long."""

    id: str
    release: str
    workspace: str
    started_at: str
    finished_at: str
    parent: str | None
    generation: int
    size_bytes: int
    rows: int
    changed_rows: int
    deleted_rows: int
    file_count: int
    file_bytes: int
    table_count: int = 0
    table_rows: int = 0
    consistency: Consistency
    encrypted: bool
    collections: tuple[CollectionSummary, ...]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Summary":
        """The summary that `model_dump(mode="json")` gave."""
        return cls.model_validate_json(json.dumps(plain))


def summary(manifest: Manifest) -> Summary:
    """The summary of a backup."""
    taken = {"name", "rows", "unique_keys", "changed_rows", "deleted_rows", "digest"}
    same = {"id", "release", "workspace", "started_at", "finished_at", "parent", "generation", "size_bytes"}
    return Summary(
        **{name: getattr(manifest, name) for name in same},
        rows=sum(one.unique_keys for one in manifest.collections),
        changed_rows=sum(one.changed_rows for one in manifest.collections),
        deleted_rows=sum(one.deleted_rows for one in manifest.collections),
        file_count=len(manifest.files),
        file_bytes=sum(one.size_bytes for one in manifest.files),
        table_count=len(manifest.tables),
        table_rows=sum(one.rows for one in manifest.tables),
        consistency=manifest.consistency,
        encrypted=manifest.encryption is not None,
        collections=tuple(CollectionSummary(**one.model_dump(include=taken)) for one in manifest.collections),
    )
