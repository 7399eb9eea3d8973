"""Measuring a release: load, and what retrieval finds."""
