"""State that outlives the process: saved state, journal and traces."""
