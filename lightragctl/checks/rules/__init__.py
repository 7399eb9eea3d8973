"""Rules for plans and rendered objects, one group per module."""
