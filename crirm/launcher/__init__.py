"""A private containerd: started, configured and cleaned up after."""
