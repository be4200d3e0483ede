"""What commands share: defaults of options, times as people type them, and exit codes."""
