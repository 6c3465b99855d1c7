"""The interface to the node agent: configurations and overrides from it, and queries to it."""
