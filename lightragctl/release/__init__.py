"""One release, opened: its profile and plan, where it runs, its clients, and what is done with it as a whole."""
