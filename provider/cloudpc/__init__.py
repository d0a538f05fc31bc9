"""Cloud PC provisioning as code: Windows 365's provisioning policies on your own hosts, with Pulumi."""
