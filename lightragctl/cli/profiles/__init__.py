"""`profiles`: look at profiles, start one."""
