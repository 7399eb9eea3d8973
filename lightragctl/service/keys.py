"""Authentication by API keys from a file, which is re-read, so that a rotation needs no restart."""

import hmac
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

from lightragctl.core.errors import LightragctlError
from lightragctl.service.http import Request
from lightragctl.service.responses import Problem

log = logging.getLogger(__name__)

REREAD_S = 1.0
"""Interval for re-reading the file; Kubernetes takes up to a minute to propagate a changed Secret to a pod."""

_VISIBLE = re.compile(rb"[!-~]+")


class ApiKeys:
    """The keys in a file, one per line; all are valid, so that old and new keys overlap during a rotation.

    Raises:
        LightragctlError: the file cannot be read, holds no key, or a key with characters that are invalid in a header.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._clock = clock
        self._read_at_s = clock()
        self._complaint = ""
        self._keys = self._read()

    def admit(self, request: Request) -> None:
        """Raise 401 unless the request carries a valid key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
        scheme, _, bearer = request.header("authorization").partition(" ")
        given = bearer.strip() if scheme.lower() == "bearer" else request.header("x-api-key")
        # Compare with every key, so that the timing reveals nothing.
        matches = [hmac.compare_digest(given.encode("latin-1", "replace"), key) for key in self._current()]
        if not any(matches):
            detail = "the API key is not valid" if given else "an API key is required"
            hint = "send the header Authorization: Bearer KEY"
            raise Problem(401, "Unauthorized", detail, hint, "unauthorized", (("www-authenticate", "Bearer"),))

    def _current(self) -> tuple[bytes, ...]:
        now_s = self._clock()
        if now_s - self._read_at_s >= REREAD_S:
            self._read_at_s = now_s
            try:
                self._keys = self._read()
            except LightragctlError as error:
                self._complain(error.message)
            else:
                self._complaint = ""
        return self._keys

    def _complain(self, reason: str) -> None:
        """Log each reason once, not at each read."""
        if reason != self._complaint:
            log.warning("the previous API keys stay valid: %s", reason)
        self._complaint = reason

    def _read(self) -> tuple[bytes, ...]:
        try:
            lines = self._file.read_bytes().splitlines()
        except OSError as error:
            raise LightragctlError(f"cannot read API keys: {error}", "check components.lightrag-api.api_key") from error
        keys = tuple(line.strip() for line in lines if line.strip())
        if not keys:
            raise LightragctlError(f"{self._file} holds no API key", "put one key on each line")
        if not all(_VISIBLE.fullmatch(key) for key in keys):
            message = f"an API key in {self._file} has characters that are invalid in an HTTP header"
            raise LightragctlError(message, "use printable ASCII characters without spaces")
        return keys
