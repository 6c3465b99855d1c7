"""Logs: one source per module, each of which can be switched to debug alone."""
