"""The simulation: one node, one process, virtual time, one seed.

A model kubelet calls crirm's own daemon, which calls a model runtime, on a model machine with a model disk; no
thread, no socket, no real clock. What happens is a list of steps (``scenario``), so a run is played again from its
seed, and made shorter until only the steps are left that a fault needs (``shrink``).

Import ``tests.simulation.clocks`` and call its ``install`` before anything of crirm: see there.
"""
