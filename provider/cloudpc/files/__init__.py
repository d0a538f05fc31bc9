"""Files that people write or several processes share: YAML, scripts, secrets, the audit log."""
