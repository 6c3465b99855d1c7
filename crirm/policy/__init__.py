"""Decisions: what each container gets, as pure functions of what is known; one file or folder per policy."""
