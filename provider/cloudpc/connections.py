"""Network connections: files in connections/, with the names of Graph's `cloudPcOnPremisesConnection`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field, model_validator

from cloudpc.policy import Part


class SecretReference(Part):
    """Where a secret is found at the time it is needed; it is never in a file of the project or in state."""

    environment: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="A variable's name.")
    file: str | None = Field(default=None, min_length=1, description="An absolute path; the whole content but its end.")

    @model_validator(mode="after")
    def _one_of(self) -> SecretReference:
        if (self.environment is None) == (self.file is None):
            raise ValueError("needs either environment or file, not both")
        if self.file is not None and not Path(self.file).is_absolute():
            raise ValueError("file must be an absolute path")
        return self

    def read(self) -> str:
        """The secret.

        Raises:
            LookupError: it is not there; in words, without the secret.
        """
        if self.environment is not None:
            if value := os.environ.get(self.environment):
                return value
            raise LookupError(f"the environment variable {self.environment} is not set")
        assert self.file is not None  # noqa: S101 - see _one_of
        try:
            return Path(self.file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise LookupError(f"{self.file} can't be read: {reason}") from None


class DomainController(Part):
    """Ours: where the domain is reached, where DNS does not say."""

    name: str = Field(pattern=r"^[A-Za-z0-9.-]+$", description="Fully qualified; its certificate must be of that name.")
    address: str | None = Field(default=None, description="From here; default: what DNS says of the name.")
    guest_address: str | None = Field(
        default=None, description="From the guests; default: what their DNS says. User-mode networking: 10.0.2.2."
    )


class OnPremisesConnection(Part):
    """A named connection: where Cloud PCs are plugged in on the host, and which domain they join. One network."""

    display_name: str = ""
    libvirt_network: str | None = Field(
        default=None, min_length=1, description="Name of a libvirt network of the host."
    )
    bridge: str | None = Field(default=None, min_length=1, max_length=15, description="Name of a bridge of the host.")
    hosted_network: bool = Field(
        default=False, description="The host's own network, as `regionName: automatic` has it."
    )
    ad_domain_name: str | None = Field(
        default=None, max_length=255, pattern=r"^[A-Za-z0-9.-]+$", description="Fully qualified name of the domain."
    )
    ad_domain_username: str | None = Field(
        default=None, pattern=r"^[^@\s]+@[^@\s]+$", description="The account that joins, as user@domain."
    )
    ad_domain_password: SecretReference | None = Field(default=None, description="Where its password is found.")
    organizational_unit: str | None = Field(
        default=None, description="Where computer accounts are made, as OU=…,DC=…; default: the domain's own place."
    )
    domain_controllers: list[DomainController] = Field(
        default=[], description="Ours. Default: those that DNS names for the domain."
    )
    ca_certificate: str | None = Field(
        default=None,
        description="Ours: the CA of its controllers, a file beside this one; default: the system's.",
    )
    endpoints: list[str] = Field(
        default=[], description="Ours: host:port of what must be reachable, for the health check."
    )

    @model_validator(mode="after")
    def _consistent(self) -> OnPremisesConnection:
        if [self.libvirt_network is not None, self.bridge is not None, self.hosted_network].count(True) != 1:
            raise ValueError("needs exactly one of libvirtNetwork, bridge and hostedNetwork: true")
        domain = {"adDomainUsername": self.ad_domain_username, "adDomainPassword": self.ad_domain_password}
        missing = [name for name, value in domain.items() if value is None]
        if self.ad_domain_name is not None and missing:
            raise ValueError(f"with adDomainName, needs {' and '.join(missing)}")
        return self
