"""`backup`: backups of a workspace."""
