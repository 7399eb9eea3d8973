"""Checks before the first write: rules, permissions, quotas, names. Reads only."""
