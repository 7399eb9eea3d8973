"""Ports of loopback for servers that tests start."""

import socket

_held: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """Ports of loopback that no other test is given while this process lives.

    Each stays bound, without a listener, so that the kernel gives it to nobody who asks for any port. A server that
    sets SO_REUSEADDR, as all do that are to start again on their port, may listen there nevertheless.
    """
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
        _held.append(one)
    return [one.getsockname()[1] for one in _held[-count:]] if count else []


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]
