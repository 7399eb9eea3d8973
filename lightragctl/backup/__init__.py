"""Backups of a workspace: create, verify, list, prune, read back."""
