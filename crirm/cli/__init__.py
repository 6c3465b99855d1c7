"""Command lines: one file per command; argv in, exit code out."""
