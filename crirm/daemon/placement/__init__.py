"""Deciding about containers, and doing what was decided."""
