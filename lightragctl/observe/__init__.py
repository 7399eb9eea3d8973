"""What a cluster shows of a release: read once, judged by pure functions. Nothing here writes to it."""
