"""Releases as processes on this machine: supervisor, reconciliation, readiness, logs."""
