"""The cgroup enforcer: compares containers' cgroups with the decision, and repairs drift."""
