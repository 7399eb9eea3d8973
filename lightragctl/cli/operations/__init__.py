"""`operations`: watch and control long-running work on a release."""
