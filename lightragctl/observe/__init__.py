"""The state of a release on a cluster: readiness, causes, logs. Reads only."""
