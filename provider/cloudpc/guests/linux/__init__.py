"""Linux: its first boot, extras, join, names, and what it says of itself."""
