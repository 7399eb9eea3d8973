"""From a profile to Kubernetes objects."""
