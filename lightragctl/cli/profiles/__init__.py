"""`profiles`: list, show, create and validate profiles."""
