"""`reembed`: another embedding model for a workspace, without loading its documents again."""
