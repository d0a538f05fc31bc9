"""Where Cloud PCs run: one driver for each kind of host, in a folder of its own."""
