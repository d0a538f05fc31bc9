"""Microsoft Graph: the one client that the directory, the devices and the import of policies use."""
