"""What becomes of each Cloud PC, without I/O: entitlement, lifecycle, actions/ (remote actions)."""
