"""A tenant's users, groups and licences, read through Microsoft Graph."""
