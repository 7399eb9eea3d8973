"""The application layer: opens a release and runs load tests, golden sets and the search probe on it."""
