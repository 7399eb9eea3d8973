"""Upgrades of a running release: what is compared, when to stop, and the steps of each strategy."""
