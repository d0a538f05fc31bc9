"""Azure: the driver in front of a fake of its resource manager."""
