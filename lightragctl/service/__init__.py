"""What runs in a pod or as a local process: read path, gateway, embedder, mock model."""
