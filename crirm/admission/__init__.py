"""What the kubelet asks for, on its way to a decision: one frozen value through a tuple of small pure functions.

Each function takes an `Admission` and returns another that knows more, or raises `RefusedError`. Creations go through
`creation.CREATION`, resizes through `resize.RESIZE`; a new concern is one more function in a tuple. What has to be
waited for (where mounts are, what the runtime says) is found out before, and goes in as a value (`Facts`).
"""
