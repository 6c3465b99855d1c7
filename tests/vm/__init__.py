"""Emulated servers: machines with packages, dies, NUMA nodes and far memory, in software emulation.

``python -m tests.vm`` (or ``nox -s vm``) boots them one after the other and runs the tests of ``tests/vm/inside`` in
each; docs/emulated-servers.md is for people. Apart from ``inside``, everything here runs on the host.
"""
