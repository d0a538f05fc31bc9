"""The resources' types in Pulumi's state. Part of the format of state: they never change."""

CLOUD_PC = "pulumi-python:dynamic/cloudpc:CloudPC"
PROVIDER = "pulumi:providers:pulumi-python"
PROVISIONING_POLICY = "pulumi-python:dynamic/cloudpc:ProvisioningPolicy"
