"""`ingest`, `retrieve`, `query`, `recordings`: load documents into a release and query it."""
