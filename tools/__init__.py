"""Tools that measure and try the suite itself; not in the wheel."""
