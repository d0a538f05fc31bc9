"""Pulumi: the program, the dynamic provider, the engine and its state."""
