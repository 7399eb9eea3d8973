"""What must hold before anything is written: rules, rights, quotas, names. Nothing here writes."""
