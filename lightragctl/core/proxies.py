"""The HTTP proxy of a connection from the environment: one rule for every client library. Pure.

Loopback and the Services of a release are always asked directly: no proxy can reach them. Addresses of others take the
proxy of their scheme, `http_proxy`, `https_proxy` or `grpc_proxy`, else `all_proxy`, in lower or upper case, unless
`no_proxy` names them: a host, a domain suffix, an address range (CIDR) or `*`.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

_VARIABLES = {
    "http": ("http_proxy",),
    "https": ("https_proxy",),
    "grpc": ("grpc_proxy", "https_proxy", "http_proxy"),  # in gRPC's own order
}
_CLUSTER_SUFFIXES = (".svc", ".svc.cluster.local", ".localhost")
_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> str | None:  # noqa: TID251 - the machine's own
    """The proxy for connections to `url`, as `scheme://[user:password@]host:port`; None for none.

    A proxy that does not speak HTTP (SOCKS) is left out.

    Args:
        url: `http://`, `https://` or `grpc://` and an address.
        environ: the environment.
    """
    target = urlsplit(url)
    found = next(filter(None, (_read(environ, name) for name in (*_VARIABLES[target.scheme], "all_proxy"))), "")
    if not found or _is_own(target.hostname or "") or _is_exempt(target, _read(environ, "no_proxy")):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme not in _PORTS or not proxy.hostname:
        return None
    netloc = proxy.netloc if proxy.port else f"{proxy.netloc.rstrip(':')}:{_PORTS[proxy.scheme]}"
    return f"{proxy.scheme}://{netloc}"


def direct_variables(urls: list[str], environ: Mapping[str, str]) -> dict[str, str]:
    """`no_proxy` in both cases for another process: the present value, loopback, and the hosts of `urls`."""
    hosts = ["127.0.0.1", "localhost", *(urlsplit(url).hostname or "" for url in urls)]
    exempt = ",".join(dict.fromkeys(filter(None, [*_read(environ, "no_proxy").split(","), *hosts])))
    return {"no_proxy": exempt, "NO_PROXY": exempt}


def _read(environ: Mapping[str, str], name: str) -> str:
    """A variable; the lower-case name takes precedence, even when empty."""
    return environ.get(name, environ.get(name.upper(), "")).strip()


def _is_own(host: str) -> bool:
    """Whether no proxy can reach the host: loopback, or a Service."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return "." not in host or host.endswith(_CLUSTER_SUFFIXES)


def _is_exempt(target: SplitResult, no_proxy: str) -> bool:
    host = target.hostname or ""
    names = {host, f"{host}:{target.port}"}
    return any(_matches(host, names, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _matches(host: str, names: set[str], entry: str) -> bool:
    """Whether an entry of `no_proxy` matches the host: `*`, a range, a name, a suffix with or without its dot."""
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        suffix = entry.lstrip("*.")
        return any(name == suffix or name.endswith(f".{suffix}") for name in names)
