"""The shapes of credentials in text: API keys by their prefixes, passwords in URLs, tokens, private keys. Pure."""

import re

_PREFIXED = r"\b(?:sk|pk|rk|hf|jina|gsk|pplx|r8|nvapi|xai|voy|pa|tgp)[-_]"
"""The prefixes that model providers give their keys."""
_CLOUD = r"\b(?:AIza[\w-]{30,}|A(?:KI|SI)A[A-Z0-9]{16}\b)"
_SECRETS = re.compile(
    r"://[^/\s@:]*:[^/\s@]+@"  # a password in a URL
    rf"|{_PREFIXED}[A-Za-z0-9_-]{{16,}}|{_CLOUD}"
    r"|\bgh[opsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_QUOTED = re.compile(
    rf"\bsk[-_][\w*.-]{{6,}}|{_PREFIXED}[\w*.-]{{16,}}|\b(?:AIza|AKIA|ASIA)[\w*-]{{12,}}"
    r"|(?<=Bearer )[\w*.~+/=-]{6,}|(?<![\w-])[\w-]{2,64}\*{3,}[\w-]*",
    re.ASCII,
)
"""Keys as servers quote them in errors: also shortened, and with the middle masked by asterisks."""
_REDACTED = "[redacted]"


def contains_credential(text: str) -> bool:
    """Whether the text contains a whole key, token, private key or password of a URL."""
    return _SECRETS.search(text) is not None


def without_credentials(text: str, key: str = "") -> str:
    """The text of an error with `[redacted]` in place of `key` and of what has the shape of a key, whole or masked."""
    return _QUOTED.sub(_REDACTED, text.replace(key, _REDACTED) if key else text)
