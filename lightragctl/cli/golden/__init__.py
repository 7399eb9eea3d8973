"""`golden`: queries whose right answers are known."""
