"""The active configuration, and how it is replaced."""
