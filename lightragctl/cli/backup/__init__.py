"""`backup`: saves of a workspace."""
