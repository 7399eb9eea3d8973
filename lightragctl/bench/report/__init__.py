"""Reports of saved documents: tables, charts, one HTML file, JUnit XML."""
