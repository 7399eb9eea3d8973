"""One module per source of facts; each declares its `COLLECTORS`, which `run` finds."""
