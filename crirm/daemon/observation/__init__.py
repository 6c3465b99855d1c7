"""Learning what the runtime has, from its answers, lists and events."""
