"""Collectors: one module per source of facts. Read-only; the reason of a missing fact is recorded."""
