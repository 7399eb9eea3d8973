"""The trace that a request belongs to, passed on to what is called for it. Pure."""

from contextvars import ContextVar

TRACE: ContextVar[str] = ContextVar("traceparent", default="")
"""The W3C traceparent of the request that is being answered. A batch carries that of one of its requests."""


def trace_headers() -> dict[str, str]:
    """What a call that is made for a request adds to its headers."""
    trace = TRACE.get()
    return {"traceparent": trace} if trace else {}
