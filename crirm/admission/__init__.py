"""Admission of the kubelet's requests: one frozen value passes through a tuple of small pure functions.

Each function takes an `Admission` and returns one with more fields, or raises `RefusedError`. Creations go through
`creation.CREATION`, resizes through `resize.RESIZE`; a new concern is one more function in a tuple. What has to be
awaited (the location of mounts, the runtime's replies) is found out before, and passed as a value (`Facts`).
"""
