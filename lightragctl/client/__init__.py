"""What talks HTTP to a running release: lightrag-api, lightrag-server, the metrics of replicas."""
