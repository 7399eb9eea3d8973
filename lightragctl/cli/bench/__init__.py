"""`bench`: load tests of a release."""
