"""crirm: a CRI resource manager between the kubelet and the container runtime."""

__version__ = "0.1.0"  # the package's metadata has it from here, and would cost a start 10 ms to read
