"""What survives the process: saved state, journal and traces."""
