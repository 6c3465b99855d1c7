"""Things to run crirm against: the embedded runtime and a private containerd."""
