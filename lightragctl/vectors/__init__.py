"""Vector stores: what we need of one, and the one door to Milvus."""
