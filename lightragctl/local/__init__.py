"""The local runtime: a release as supervised processes on this machine."""
