"""Calls on their way: where each goes, and the runtime at the other end."""
