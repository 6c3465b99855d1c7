"""Traces of what happened on a node, and what the core makes of them on this or another machine and configuration.

A trace (`trace`, `records`) holds a machine, a configuration, what ran at its start, and every event after that, each
with a digest of what was decided (`decisions`). Replaying it (`run`) sends the events through the pipeline again. What
comes out is followed container by container (`stories`), judged at single moments (`moments`), put together as a
`report`, and compared (`diff`).
"""
