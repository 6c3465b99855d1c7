"""Configuration: one schema of frozen values, with a default and a description for every option."""
