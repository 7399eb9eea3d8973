"""Types and rules that every other package stands on; no network, no processes."""
