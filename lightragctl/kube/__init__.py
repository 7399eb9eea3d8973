"""Kubernetes: the one door to a cluster's API server."""
