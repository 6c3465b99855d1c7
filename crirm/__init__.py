"""crirm: a CRI resource manager between the kubelet and the container runtime."""
