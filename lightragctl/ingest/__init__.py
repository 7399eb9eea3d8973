"""Loading documents: files to text, text to the service."""
