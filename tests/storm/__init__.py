"""kill -9 of crirm at random instants under a storm of calls; ``python -m tests.storm --help``."""
