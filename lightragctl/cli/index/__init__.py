"""`index`: the indexes of a release."""
