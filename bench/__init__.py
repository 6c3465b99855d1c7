"""What relaying costs: the same calls made directly and through crirm, in turn, in one run; ``python -m bench``."""
