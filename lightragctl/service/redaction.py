"""Redaction of API keys in texts of model endpoints. Pure."""

import re

_REDACTED = b"[redacted]"
_LIKE_A_KEY = re.compile(
    rb"\bsk[-_][\w*.-]{6,}|\b(?:pk|rk|gsk|hf|xai|nvapi|pplx|tgp|r8)[-_][\w*.-]{16,}|\b(?:AIza|AKIA)[\w*-]{12,}"
    rb"|(?<=Bearer )[\w*.~+/=-]{6,}|(?<![\w-])[\w-]{2,64}\*{3,}[\w-]*"
)
"""Keys by the prefixes of providers, what follows the word Bearer, and words with a masked middle."""


def redacted(text: bytes, key: str = "") -> bytes:
    """The text without `key` and without anything that looks like a key, whole or masked."""
    if key:
        text = text.replace(key.encode(), _REDACTED)
    return _LIKE_A_KEY.sub(_REDACTED, text)
