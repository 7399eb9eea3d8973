"""What must hold of a plan, one family of rules per file."""
