"""The storage of backups: folders and object stores, through obstore only. Does I/O.

An object is written whole or not at all. Requests to object stores are retried with back-off on server errors, cut
connections and timeouts; what is raised after that names the object.
"""

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, MemoryStore, S3Store, from_url

from lightragctl.core.backup import CLAIMS_ROOT
from lightragctl.core.errors import LightragctlError, RefusedError, UnavailableError, UsageError
from lightragctl.core.hint import Command, Hint
from lightragctl.core.urls import shown

_CHUNK_BYTES = 8 * 1024 * 1024
_ANSWER = re.compile(r"<Code>(?P<code>\w+)</Code>\s*<Message>(?P<message>[^<]*)</Message>")
"""An error of an S3 service."""
_RETRIED = re.compile(r"after (?P<count>\d+) retries, max_retries: .*? +- (?P<reason>[^\n]+)")
"""The end of what obstore says of a request that it has retried; what stands before repeats URL and verb."""
_FOLDERS = ("file://", "pvc://")
_DENIED = ("SignatureDoesNotMatch", "UserNotFound", "InvalidAccessKeyId", "AccessDenied", "ExpiredToken")
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "os error 28", "os error 122")


class StorageError(LightragctlError):
    """The storage of backups refused a request."""

    code = "backup-storage"


class StorageUnavailableError(UnavailableError):
    """The storage of backups does not answer, after all retries."""

    code = "backup-storage-unavailable"


class MissingObjectError(StorageError):
    """There is no object of that name."""

    code = "missing-object"


class StorageFullError(StorageError):
    """The storage has no space for the object."""

    code = "backup-storage-full"


class NotMountedError(RefusedError):
    """A volume claim is not mounted in this process's pod, or this process has no pod."""

    code = "not-mounted"


@dataclass(frozen=True)
class Access:
    """How to reach an S3 service; None: as the environment has it. `access_key` and `secret_key` come together."""

    endpoint: str | None = None
    region: str | None = None
    path_style: bool = True
    access_key: str | None = None
    secret_key: str | None = None

    def __repr__(self) -> str:
        return f"Access(endpoint={self.endpoint!r}, region={self.region!r})"


@dataclass(frozen=True)
class Patience:
    """How long to wait for an object store: per request, per retried request, and between tries, in seconds."""

    request_s: float = 300.0
    stalled_s: float = 60.0
    retries: int = 8
    total_s: float = 240.0
    back_off_s: float = 0.2


class Writer(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Takes all of them."""


class Storage:
    """Objects by relative name, below one URL.

    Args:
        store: of obstore.
        url: for messages; its credentials are hidden.
        folder: where the objects are files of this machine; else None.
    """

    def __init__(self, store: Any, url: str, folder: Path | None = None) -> None:
        self._store = store
        self.url = shown(url)
        self._folder = folder

    def write(self, path: str, data: bytes) -> None:
        """Writes an object; one of that name is replaced."""
        with self._explained("write", path):
            obstore.put(self._store, path, data)

    def create(self, path: str, data: bytes) -> bool:
        """Writes an object unless there is one of that name; False: there is. Of several callers one gets True."""
        with self._explained("write", path):
            try:
                obstore.put(self._store, path, data, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
        return True

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[Writer]:
        """An object to write in pieces, with bounded memory; after an error in the block there is none."""
        with self._explained("write", path):
            target = obstore.open_writer(self._store, path, buffer_size=_CHUNK_BYTES)
            yield target
            target.close()

    def read(self, path: str, most_bytes: int) -> bytes:
        """A whole object.

        Raises:
            MissingObjectError: there is none.
            StorageError: it is larger than `most_bytes`.
        """
        with self._explained("read", path):
            found = obstore.get(self._store, path)
            if found.meta["size"] > most_bytes:
                raise StorageError(f"{self._named(path)} has {found.meta['size']} bytes, more than {most_bytes}")
            return bytes(found.bytes())

    def chunks(self, path: str) -> Iterator[bytes]:
        """An object in pieces.

        Raises:
            MissingObjectError: there is none.
        """
        with self._explained("read", path):
            for piece in obstore.get(self._store, path).stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(piece)

    def sizes(self, prefix: str) -> dict[str, int]:
        """The objects below a folder, with their sizes in bytes."""
        with self._explained("list", prefix):
            pages = obstore.list(self._store, prefix or None)
            return {one["path"]: int(one["size"]) for page in pages for one in page}

    def folders(self) -> list[str]:
        """The names of the folders directly below the URL, sorted."""
        with self._explained("list", ""):
            found = obstore.list_with_delimiter(self._store)
            return sorted(str(one).rstrip("/").rpartition("/")[2] for one in found["common_prefixes"])

    def delete(self, path: str) -> None:
        """Deletes an object; harmless when there is none."""
        with self._explained("delete", path), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    def delete_folder(self, prefix: str) -> None:
        """Deletes all objects below a folder, and what interrupted writes left there."""
        for path in self.sizes(prefix):
            self.delete(path)
        if self._folder is not None:
            shutil.rmtree(self._folder / prefix, ignore_errors=True)

    def settle(self, prefix: str) -> None:
        """Makes the objects below a folder outlive a power failure, where that is not the store's own promise."""
        if self._folder is None:
            return
        for path in (self._folder / prefix).rglob("*"):
            _synchronize(path)
        _synchronize(self._folder / prefix)
        _synchronize(self._folder)

    @contextlib.contextmanager
    def _explained(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if not _is_answer_about_all(error, verb):
                raise MissingObjectError(f"there is no {self._named(path)}") from error
            raise failure(self.url, verb, path, error) from error
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise failure(self.url, verb, path, error) from error

    def _named(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{path}"


def at(command: str, url: str) -> Command:
    """A command on the backups of this destination, which may differ from the profile's."""
    return Command(command, f"--destination {shlex.quote(shown(url))}")


def failure(url: str, verb: str, path: str, error: BaseException) -> LightragctlError:
    """The error for a request that failed in another way than by a missing object."""
    reason, named = _reason(error), f"{url.rstrip('/')}/{path}"
    denied = isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError)
    if denied or any(code in reason for code in _DENIED):
        hint = "check the credentials and their permissions: read, write, list, delete"
        return StorageError(f"{url} refuses to {verb} {path}: {reason}", hint)
    if any(text in str(error) for text in _NO_SPACE):
        hint = Hint("free space, or delete old backups: ", at("backup prune", url))
        return StorageFullError(f"{url} is full: cannot {verb} {path}: {reason}", hint)
    if isinstance(error, FileNotFoundError):
        return StorageError(f"{url} does not exist: {reason}", "create the bucket, or correct its name")
    if url.startswith(_FOLDERS):
        return StorageError(f"cannot {verb} {named}: {reason}", "check the path and its permissions")
    hint = Hint("check the URL, the endpoint and the network, and start the command again")
    return StorageUnavailableError(f"cannot {verb} {named}: {reason}", hint)


Missing = Literal["create", "refuse", "empty"]
"""What a folder that does not exist is: created, an error, or read as one without backups."""


def open_storage(
    url: str, access: Access = Access(), patience: Patience = Patience(), missing: Missing = "create"
) -> Storage:
    """The objects below a URL.

    Args:
        url: `file:///PATH`, `s3://BUCKET/PREFIX`, `pvc://CLAIM/PATH` (in a pod that mounts the claim), `memory://` for
            tests, or another URL that obstore knows (untested).
        access: to an S3 service.
        patience: with an object store.
        missing: what to do with a folder that does not exist.

    Raises:
        UsageError: it is not such a URL.
        NotMountedError: `pvc://` outside a pod that mounts the claim.
        StorageError: the folder does not exist, or cannot be created.
    """
    if "://" not in url:
        hint = f"a folder of this machine is written file://{quote(os.path.abspath(os.path.expanduser(url)))}"
        raise UsageError(f"'{shown(url)}' is not a URL", hint)
    scheme, parts = url.partition("://")[0], urlsplit(url)
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise UsageError(f"'{shown(url)}' is not file:///PATH", "an absolute path begins with a third slash")
        return _folder(Path(unquote(parts.path)), url, missing)
    if scheme == "pvc":
        return _folder(_claimed(parts.netloc, unquote(parts.path)), url, missing)
    if scheme == "memory":
        return Storage(MemoryStore(), url)
    if scheme in ("s3", "s3a"):
        return Storage(_s3(parts.netloc, unquote(parts.path).strip("/"), access, patience), url)
    try:
        return Storage(from_url(url, client_options=_client(url, patience), retry_config=_retry(patience)), url)
    except (exceptions.BaseError, ValueError) as error:
        raise UsageError(
            f"'{shown(url)}' is not a valid destination for backups: {_reason(error)}",
            "such as file:///backups or s3://bucket/path",
        ) from error


def _folder(folder: Path, url: str, missing: Missing) -> Storage:
    if missing == "empty" and not folder.exists():
        return Storage(MemoryStore(), url)
    if missing == "refuse" and not folder.exists():
        hint = Hint("correct the path, or make a backup there: ", at("backup create", url))
        raise StorageError(f"there is no folder {folder}", hint)
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is not a folder", "choose a folder that can be written to")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror}", "choose a writable folder") from error
    return Storage(LocalStore(folder, automatic_cleanup=False), url, folder)


def _claimed(claim: str, path: str) -> Path:
    mounted = Path(CLAIMS_ROOT) / claim
    if not claim or ".." in Path(path).parts:
        raise UsageError("pvc:// names a claim and a path: pvc://CLAIM/PATH")
    if not mounted.is_dir():
        raise NotMountedError(
            f"the volume claim {claim} is not mounted at {mounted}",
            "pvc:// is read and written by Jobs: backup create, restore, restore --drill",
        )
    return mounted / path.strip("/")


def _s3(bucket: str, prefix: str, access: Access, patience: Patience) -> Any:
    if not bucket:
        raise UsageError("s3:// names a bucket: s3://BUCKET/PREFIX")
    given = {
        "endpoint": access.endpoint,
        "region": access.region,
        "access_key_id": access.access_key,
        "secret_access_key": access.secret_key,
    }
    config: Mapping[str, Any] = {name: value for name, value in given.items() if value}
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,  # type: ignore[arg-type]
        virtual_hosted_style_request=not access.path_style,
        client_options=_client(access.endpoint or "", patience),
        retry_config=_retry(patience),
    )


def _client(endpoint: str, patience: Patience) -> Any:
    options: dict[str, Any] = {
        "timeout": timedelta(seconds=patience.request_s),
        "read_timeout": timedelta(seconds=patience.stalled_s),
    }
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    return options


def _retry(patience: Patience) -> Any:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.total_s),
        "backoff": {"init_backoff": timedelta(seconds=patience.back_off_s), "max_backoff": timedelta(seconds=15)},
    }


def _synchronize(path: Path) -> None:
    with contextlib.suppress(OSError):  # a file system that cannot synchronize a folder
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _is_answer_about_all(error: FileNotFoundError, verb: str) -> bool:
    """Whether more than one object is missing: some services answer 404 to a wrong key or bucket."""
    return verb == "write" or any(code in str(error) for code in (*_DENIED, "NoSuchBucket"))


def _reason(error: BaseException) -> str:
    """What a service or the system says, on one line."""
    text = str(error)
    if answer := _ANSWER.search(text):
        return f"{answer['code']}: {answer['message'][:300]}"
    if ended := _RETRIED.search(text):
        return f"{ended['reason'][:300]} (after {ended['count']} retries)"
    return text.partition("\n")[0][:300]
