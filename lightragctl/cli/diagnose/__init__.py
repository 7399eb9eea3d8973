"""The commands of `diagnose`."""
