"""`serve`: run one of the services in the foreground."""
