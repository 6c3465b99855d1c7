"""Configuration: one schema of frozen values, with defaults, units and a sentence about each option."""
