"""`operations`: long-running work on a release, and how to steer it."""
