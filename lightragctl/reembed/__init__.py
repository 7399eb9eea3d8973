"""Re-embedding: the stored texts of a workspace embedded with another model, compared, and switched to."""
