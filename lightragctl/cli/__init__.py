"""The command line: parses options, calls one function, shows its result."""
