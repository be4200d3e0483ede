"""Norms as data: each TOML file here is one, which normsuite finds by the entry point."""
