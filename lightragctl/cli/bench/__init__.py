"""`bench`: load on a release."""
