"""Windows in clouds, which boot it themselves: what it says of itself, its account, the end of its first boot."""
