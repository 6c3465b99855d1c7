"""The messages of calls, as text."""
