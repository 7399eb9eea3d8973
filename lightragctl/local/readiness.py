"""Checks the readiness of a local process with one request to loopback."""

import socket

import httpx

_ANSWER_S = 2.0


def not_ready_reason(port: int, ready_path: str | None) -> str | None:
    """None if the process on the port is ready, else the reason.

    Args:
        port: TCP port on loopback.
        ready_path: requested over HTTP; None: an open port is enough.
    """
    if ready_path is None:
        return _port_reason(port)
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{ready_path}", timeout=_ANSWER_S, trust_env=False)
    except httpx.ConnectError:
        return f"port {port} is not open yet"
    except httpx.HTTPError as error:
        return f"no response on port {port}: {type(error).__name__}"
    if answer.is_success:
        return None
    return _detail(answer)


def _port_reason(port: int) -> str | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_ANSWER_S):
            return None
    except OSError:
        return f"port {port} is not open yet"


def _detail(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return f"{answer.status_code} on port {answer.url.port}"
    detail = document.get("detail") if isinstance(document, dict) else None
    return str(detail or f"{answer.status_code} on port {answer.url.port}")
