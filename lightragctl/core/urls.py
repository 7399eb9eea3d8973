"""URLs with credentials in the authority or query: redacted for display, and as request headers. Pure."""

import base64
import re
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
_SECRET_CHARS = 4
"""Shorter values of a query are not treated as keys: they would match in any text."""
_UNTIL_LAST_AT = re.compile(r"\A([a-z][a-z0-9+.-]*://)?.*@", re.DOTALL | re.IGNORECASE)
_AUTHORITY_AND_PATH = re.compile(r"//[^?#]*@")


def shown(url: str) -> str:
    """The URL without its credentials: user and password, the values of its query and its fragment are hidden.

    Text that is not a URL is shown without everything before its last `@`.
    """
    address, mark, query = url.partition("#")[0].partition("?")
    if not _is_whole(url):
        return _UNTIL_LAST_AT.sub(rf"\g<1>{HIDDEN}@", url).partition("?")[0]
    if "@" in urlsplit(url).netloc:
        address = _AUTHORITY_AND_PATH.sub(f"//{HIDDEN}@", address)  # an @ in the path may be one of the password
    return address + mark + _hidden_values(query)


def basic_credentials(url: str) -> str | None:
    """User and password of a URL as RFC 7617's Basic scheme sends them; None when it has none."""
    user, password = _user_and_password(url)
    if not user and not password:
        return None
    return base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def secrets(url: str) -> list[str]:
    """The secrets of a URL: the password and the values of the query, encoded and decoded."""
    written = urlsplit(url).password or ""
    values = [value for _, value in parse_qsl(urlsplit(url).query) if len(value) >= _SECRET_CHARS]
    found = (written, unquote(written), basic_credentials(url) or "", *values)
    return [one for one in dict.fromkeys(found) if one]


def _user_and_password(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def _is_whole(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.hostname is not None and (parts.port or 0) >= 0
    except ValueError:
        return False


def _hidden_values(query: str) -> str:
    """The query with its values hidden; parts without a name are hidden whole."""
    parts = [part.partition("=") for part in query.split("&") if part]
    return "&".join(f"{name}={HIDDEN}" if mark else HIDDEN for name, mark, _ in parts)
