"""The commands of `tune`."""
