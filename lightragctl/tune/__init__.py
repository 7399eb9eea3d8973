"""The best vector index for a workspace's own data: searched by trials, applied by a rebuild, undone."""
