"""The `cloudpc` command: a file for each command, or for a part that several need."""
