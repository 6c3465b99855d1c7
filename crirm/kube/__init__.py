"""The node agent's side of crirm: its configuration interface, and questions to the agent."""
