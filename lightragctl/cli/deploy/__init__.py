"""`up`, `diff`, `status`, `history` and the other commands that run a release."""
