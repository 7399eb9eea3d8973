"""Removes credentials from the answers of model endpoints. Pure."""

from lightragctl.core.credentials import without_credentials


def redacted(text: bytes, key: str = "") -> bytes:
    """The text of an error without this key and without what looks like one, whole or with its middle masked."""
    return without_credentials(text.decode("latin-1"), key.encode().decode("latin-1")).encode("latin-1")
