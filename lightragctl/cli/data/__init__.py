"""`ingest`, `retrieve`, `query`, `recordings`: the use of a release."""
