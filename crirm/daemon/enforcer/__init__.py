"""What the kernel has for containers, held against what was decided."""
