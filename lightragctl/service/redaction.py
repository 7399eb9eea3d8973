"""What must not be shown of what model endpoints say. Pure."""

import re

_REDACTED = b"[redacted]"
_LIKE_A_KEY = re.compile(
    rb"\bsk[-_][\w*.-]{6,}|\b(?:pk|rk|gsk|hf|xai|nvapi|pplx|tgp|r8)[-_][\w*.-]{16,}|\b(?:AIza|AKIA)[\w*-]{12,}"
    rb"|(?<=Bearer )[\w*.~+/=-]{6,}|(?<![\w-])[\w-]{2,64}\*{3,}[\w-]*"
)
"""Keys by the beginnings that providers give them, what follows the word Bearer, and words whose middle is masked."""


def redacted(text: bytes, key: str = "") -> bytes:
    """The text of an error without this key and without what looks like one, whole or with its middle masked."""
    if key:
        text = text.replace(key.encode(), _REDACTED)
    return _LIKE_A_KEY.sub(_REDACTED, text)
