"""`serve`: one of our services in this process."""
