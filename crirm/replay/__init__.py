"""Traces of events on a node, and their replay on the same or another machine and configuration.

A trace (`trace`, `records`) holds a machine, a configuration, the containers at its start, and every later event, each
with a digest of the decision (`decisions`). A replay (`run`) sends the events through the pipeline again. The result
is followed container by container (`stories`), measured at single moments (`moments`), collected in a
`report`, and compared (`diff`).
"""
