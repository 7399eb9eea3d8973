"""`golden`: queries with known correct answers."""
