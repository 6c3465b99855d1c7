"""The embedded runtime: a CRI runtime that lives in memory, for tests, benchmarks and the demo.

``model`` and what it rests on know no socket, no clock and no task; ``server`` and ``runtime`` put them on a Unix
socket. It answers as containerd answers; what it runs is make-believe (see ``programs``).
"""
