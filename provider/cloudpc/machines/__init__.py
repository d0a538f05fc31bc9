"""Where Cloud PCs run: the interface, and one driver per kind of host."""
