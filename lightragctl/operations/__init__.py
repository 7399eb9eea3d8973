"""Long-running operations on a release: ordered steps that survive the death of the process that drives them."""
