"""Collectors: one module per source of facts. They read only; why a fact cannot be read is noted."""
