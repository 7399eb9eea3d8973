"""What lightragctl deploys, one file per component."""
