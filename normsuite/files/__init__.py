"""Files: those that others wrote, read with care; those that are written whole; the user's cache; git."""
