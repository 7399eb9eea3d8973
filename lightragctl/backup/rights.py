"""What the Jobs of backups and restores may do in the namespace of their release. Pure."""

from lightragctl.operations.kind import Right

READS = (
    Right("", ("pods", "services", "endpoints", "events", "persistentvolumeclaims", "configmaps"), ("get", "list")),
    Right("apps", ("deployments", "statefulsets", "replicasets", "daemonsets"), ("get", "list")),
    Right("autoscaling", ("horizontalpodautoscalers",), ("get", "list")),
    Right("policy", ("poddisruptionbudgets",), ("get", "list")),
)
"""Reads the state of the release."""
SCALES = Right("apps", ("statefulsets",), ("update",))
"""Stops lightrag-server, and starts it again."""
SERVER_KEY = Right("", ("secrets",), ("get",), ("{release}-lightrag-server-keys",))
"""Queries lightrag-server."""
