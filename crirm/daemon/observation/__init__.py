"""Observing the runtime: its replies, lists and events."""
