"""Profiles of one process of a release: flame graphs and stack dumps, with the least rights that suffice."""
