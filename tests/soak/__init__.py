"""crirm under work for as long as it takes to see whether anything grows."""
