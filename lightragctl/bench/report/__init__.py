"""Saved runs for people to read: read again, figures, charts, one HTML file, JUnit."""
