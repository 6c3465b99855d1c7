"""Which configuration is in force, and how another one takes its place."""
