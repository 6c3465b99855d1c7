"""Synthetic hosts: sysfs trees written from a short description."""
