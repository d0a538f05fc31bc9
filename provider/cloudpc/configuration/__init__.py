"""What a policy is configured with: read, checked, written, imported from a tenant."""
