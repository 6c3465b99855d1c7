"""The running daemon: its tasks, their order, and what each failure means."""
