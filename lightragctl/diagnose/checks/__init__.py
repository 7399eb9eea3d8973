"""One module per family of checks; each declares its `CHECKS`, which `diagnose.check` finds."""
