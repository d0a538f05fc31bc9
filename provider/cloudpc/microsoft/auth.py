"""Ways to sign in that a configuration can name."""

from __future__ import annotations

from typing import Literal

Auth = Literal["default", "cli", "environment", "token"]
"""default: azure-identity's DefaultAzureCredential. cli: Azure CLI. environment: AZURE_* variables. token: a given one.
"""
