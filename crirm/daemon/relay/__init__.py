"""Relaying calls: routes, and the link to the runtime."""
