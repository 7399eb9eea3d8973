"""Trace context of the current request, propagated to backend calls. Pure."""

from contextvars import ContextVar

TRACE: ContextVar[str] = ContextVar("traceparent", default="")
"""The W3C traceparent of the current request. A batch carries that of one of its requests."""


def trace_headers() -> dict[str, str]:
    """The headers that propagate the trace context."""
    trace = TRACE.get()
    return {"traceparent": trace} if trace else {}
