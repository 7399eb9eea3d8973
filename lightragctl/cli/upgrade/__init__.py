"""`upgrade`: plans of upgrades, the compatibility matrix, and canaries."""
