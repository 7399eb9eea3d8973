"""Upgrades of a running release: canaries, gates, and the steps of each strategy."""
