"""What measures and tries the suite itself; not in the wheel."""
