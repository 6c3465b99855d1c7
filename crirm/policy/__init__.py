"""Decisions: what each container is assigned, as pure functions; one package per policy."""
