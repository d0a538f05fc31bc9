"""`cloudpc:devices` and `cloudpc:credentials`: what of a Cloud PC is made known to Microsoft Entra."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from cloudpc.model.policy import Part


class DevicesConfig(Part):
    """How Cloud PCs become devices of the tenant that `cloudpc:graph` names."""

    registration: Literal["none", "record", "adopt"] = Field(
        default="none",
        description="record: an entry in Entra's list of devices, made by a signed-in administrator. adopt: the device "
        "that the guest has joined by itself; found, owned and removed at the end.",
    )
    timeout_in_seconds: int = Field(
        default=900, ge=1, le=86_400, description="adopt: until the guest's device has appeared."
    )


class CredentialsConfig(Part):
    """What a user signs in with, beside the account in the guest."""

    kind: Literal["password", "temporaryAccessPass"] = Field(
        default="password",
        description="password: of the account in the guest. temporaryAccessPass: also one for Entra, handed over once.",
    )
    lifetime_in_minutes: int | None = Field(
        default=None, ge=10, le=43_200, description="Of the pass; the tenant's policy decides what is allowed."
    )
    is_usable_once: bool = Field(default=False, description="Whether the pass is used up by the first sign-in.")

    @model_validator(mode="after")
    def _about_a_pass(self) -> CredentialsConfig:
        if self.kind == "password" and (self.lifetime_in_minutes is not None or self.is_usable_once):
            raise ValueError("lifetimeInMinutes and isUsableOnce are for kind: temporaryAccessPass")
        return self
