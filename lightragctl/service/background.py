"""Background work that survives errors: they are logged, and the work is retried after a pause. No I/O of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lightragctl.core.errors import LightragctlError

log = logging.getLogger(__name__)


class Background:
    """Runs named steps. An error is logged when it appears, when it changes and when it is resolved."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}

    async def attempt(self, name: str, step: Callable[[], Awaitable[object]]) -> str:
        """Run `step` once; returns the error in one sentence, empty on success."""
        try:
            await step()
        except LightragctlError as error:
            if self._is_news(name, error.message):
                log.warning("%s: %s", name, error.message)
            return error.message
        except Exception as error:
            trouble = f"{type(error).__name__}: {error}"
            if self._is_news(name, trouble):
                log.exception("%s failed", name)
            return trouble
        if self._is_news(name, ""):
            log.warning("%s: recovered", name)
        return ""

    async def forever(self, name: str, step: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Run `step` every `pause_s` until cancelled."""
        while True:
            await asyncio.sleep(pause_s)
            await self.attempt(name, step)

    def forget(self, name: str) -> None:
        """Drop the state of a step that no longer runs."""
        self._troubles.pop(name, None)

    def _is_news(self, name: str, trouble: str) -> bool:
        before = self._troubles.pop(name, "")
        if trouble:
            self._troubles[name] = trouble
        return trouble != before
