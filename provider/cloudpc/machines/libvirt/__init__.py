"""Machines on libvirt and QEMU, on any connection URI: nothing here assumes that it sees the host's files."""
