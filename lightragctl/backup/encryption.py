"""Encryption with age: objects to a key of their backup, that key to each recipient. Does no I/O of its own.

Each backup has an X25519 key of its own. Its objects are ordinary age files for it, and `key.age` is the key itself as
an age file for the recipients. So changing recipients rewrites `key.age` alone, and `age -d` reads everything.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import pyrage
from pyrage import ssh, x25519

from lightragctl.backup.manifest import InvalidBackupError
from lightragctl.core.errors import LightragctlError, UsageError

KEY_NAME = "key.age"
SUFFIX = ".age"


class DecryptionError(LightragctlError):
    """None of the identities can decrypt the backup."""

    code = "decryption"


@dataclass(frozen=True)
class DataKey:
    """The key of one backup; its text never appears in a representation."""

    identity: Any

    def __repr__(self) -> str:
        return "DataKey(***)"

    def seal(self, data: bytes) -> bytes:
        """The data as an age file."""
        return bytes(pyrage.encrypt(data, [self.identity.to_public()]))

    def open(self, data: bytes, name: str) -> bytes:
        """What `seal` was given.

        Raises:
            InvalidBackupError: the bytes were changed, or are of another backup; names the file.
        """
        with _opening(name):
            return bytes(pyrage.decrypt(data, [self.identity]))

    def seal_stream(self, source: IO[bytes], target: Any) -> None:
        """Writes all that the source gives as an age file."""
        pyrage.encrypt_io(source, target, [self.identity.to_public()])

    def open_stream(self, source: Any, target: Any, name: str) -> None:
        """Writes what `seal_stream` was given. What is written before an error is raised must not be used.

        Raises:
            InvalidBackupError: the bytes were changed, or are of another backup; names the file.
        """
        with _opening(name):
            pyrage.decrypt_io(source, target, [self.identity])


def new_key(recipients: Sequence[str]) -> tuple[DataKey, bytes]:
    """A new key, and its text as an age file for the recipients.

    Args:
        recipients: public keys: `age1...`, `ssh-ed25519 ...` or `ssh-rsa ...`; at least one.

    Raises:
        UsageError: one of them is not a public key.
    """
    identity = x25519.Identity.generate()
    return DataKey(identity), _wrap(str(identity), recipients)


def open_key(wrapped: bytes, identities: Sequence[str]) -> DataKey:
    """The key of a backup.

    Args:
        wrapped: the bytes of `key.age`.
        identities: texts of private keys: files of `age-keygen`, or SSH keys.

    Raises:
        UsageError: a text has no private key.
        DecryptionError: the backup is for none of them.
    """
    known = [one for text in identities for one in _identities(text)]
    if not known:
        raise DecryptionError(
            "the backup is encrypted, and no identity is set", "set backup.identity in the profile to its private key"
        )
    try:
        text = pyrage.decrypt(wrapped, known).decode("ascii")
        return DataKey(x25519.Identity.from_str(text.strip()))
    except (pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError) as error:
        raise DecryptionError(
            f"none of {len(known)} identities can decrypt the backup: {error}",
            "use a private key of one of the recipients that the manifest names",
        ) from error


def rewrap(key: DataKey, recipients: Sequence[str]) -> bytes:
    """The text of a key as an age file for other recipients; the objects of the backup stay as they are.

    Raises:
        UsageError: one of them is not a public key.
    """
    return _wrap(str(key.identity), recipients)


def check_recipients(recipients: Sequence[str]) -> None:
    """Does nothing when each is a public key.

    Raises:
        UsageError: one of them is not.
    """
    for text in recipients:
        _recipient(text)


def _wrap(text: str, recipients: Sequence[str]) -> bytes:
    return bytes(pyrage.encrypt(text.encode("ascii"), [_recipient(one) for one in recipients]))


def _recipient(text: str) -> Any:
    read: Callable[[str], Any] = ssh.Recipient.from_str if text.startswith("ssh-") else x25519.Recipient.from_str
    try:
        return read(text.strip())
    except pyrage.RecipientError as error:
        raise UsageError(
            f"the recipient that begins with '{text[:8]}' is not a public key: {error}",
            "create a key pair: age-keygen; its public key begins with age1",
        ) from error


def _identities(text: str) -> list[Any]:
    """The private keys of a file of age-keygen, one a line with comments, or of an SSH key's file."""
    try:
        if "PRIVATE KEY-----" in text:
            return [ssh.Identity.from_buffer(text.encode())]
        lines = (line.strip() for line in text.splitlines())
        return [x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError as error:
        raise UsageError(
            f"an identity cannot be read: {error}", "use a file written by age-keygen, or an SSH key"
        ) from error


@contextlib.contextmanager
def _opening(name: str) -> Iterator[None]:
    try:
        yield
    except pyrage.DecryptError as error:
        raise InvalidBackupError(f"{name} cannot be decrypted: {error}") from error
