"""Measure a service under load: when requests are sent, what is asked, what came back, and whether to believe it."""
