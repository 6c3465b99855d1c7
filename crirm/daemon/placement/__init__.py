"""Placement: decisions about containers, and their effects."""
