"""The embedded runtime: a CRI runtime that lives in memory, for tests, benchmarks and the demo.

``model`` and its dependencies use no socket, clock or task; ``server`` and ``runtime`` put them on a Unix
socket. It answers as containerd does; its processes are simulated (see ``programs``).
"""
