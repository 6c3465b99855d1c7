"""The values that crirm reasons about, all frozen: CPU sets, quantities, the machine, container requests."""
