"""`completion` and `version`."""
