"""The host: sockets, systemd, cgroups; one file per facility."""
