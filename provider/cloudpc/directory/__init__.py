"""Users, groups and licences: from a local file, or from a tenant."""
