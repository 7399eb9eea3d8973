"""A release on a cluster: planned, applied by stages, recorded, rolled back, taken down."""
