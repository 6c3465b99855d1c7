"""What crirm reasons about, as frozen values: CPU sets, quantities, the machine, what containers ask for."""
