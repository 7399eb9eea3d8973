"""`up`, `diff`, `status`, `history` and the other commands that deploy and inspect a release."""
