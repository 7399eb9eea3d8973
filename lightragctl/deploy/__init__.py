"""Releases on Kubernetes: plan, apply in stages, inventory, revisions, drift, rollback, deletion."""
