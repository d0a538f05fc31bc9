"""How a user gets to their Cloud PC: the protocol, where it is reached, and what it is known by there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from cloudpc.model.recorded import Recorded


class Bastion(Recorded):
    """An Azure Bastion, by which a port of a machine becomes one of the loopback here."""

    bastion_id: str
    """The Bastion's resource id."""
    target_id: str
    """The machine's."""

    @property
    def name(self) -> str:
        """The last word of its id, for people."""
        return self.bastion_id.rpartition("/")[2]


class _Way(Recorded):
    host: str
    """As seen from `via` or by the Bastion."""
    port: int
    via: str = ""
    """An ssh destination; empty: from here."""
    bastion: Bastion | None = None
    """The other way there; None: none."""

    @property
    def address(self) -> str:
        """Host and port, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def through(self) -> str:
        """What stands between here and there, for people; nothing if nothing does."""
        return f"Azure Bastion {self.bastion.name}" if self.bastion else self.via


class Ssh(_Way):
    """By ssh."""

    protocol: Literal["ssh"] = "ssh"
    host_key: str = ""
    """Type and key; empty while nobody has asked the guest."""
    certificate_thumbprint: str = ""
    """Of the desktop that the guest serves on its own loopback, by ssh alone: as `Rdp` has it; empty: it has none."""

    def proven(self, proof: str) -> Ssh:
        """With what the guest proves itself by."""
        return self.model_copy(update={"host_key": proof})

    def with_desktop(self, thumbprint: str) -> Ssh:
        """With the certificate of its desktop."""
        return self.model_copy(update={"certificate_thumbprint": thumbprint})


class Rdp(_Way):
    """By remote desktop."""

    protocol: Literal["rdp"] = "rdp"
    certificate_thumbprint: str = ""
    """SHA-256 of the certificate, in hex; empty while nobody has asked the guest."""

    def proven(self, proof: str) -> Rdp:
        """With what the guest proves itself by."""
        return self.model_copy(update={"certificate_thumbprint": proof})


Access = Ssh | Rdp
_ANY: TypeAdapter[Access] = TypeAdapter(
    Annotated[Access, Field(discriminator="protocol")], config=ConfigDict(hide_input_in_errors=True)
)
_PROOFS = ("hostKey", "certificateThumbprint")
"""Stand beside the connection in outputs, not in it."""
IN_OUTPUTS = ("connection", *_PROOFS)
"""The outputs that say it."""


def to_outputs(access: Access) -> dict[str, Any]:
    """The outputs of a Cloud PC that say it: `connection`, and what the guest proves itself by."""
    values = access.model_dump(by_alias=True)
    proofs = {name: values.pop(name) for name in _PROOFS if name in values}
    if isinstance(access, Ssh) and not access.certificate_thumbprint:
        del proofs["certificateThumbprint"]
    connection = {name: values[name] for name in ("protocol", "host", "port", "via")}
    bastion = {"bastion": values["bastion"]} if access.bastion else {}
    return {"connection": {**connection, **bastion}, **proofs}


def from_outputs(outputs: Mapping[str, Any]) -> Access | None:
    """What `to_outputs` has written, if it has; Pulumi makes floats of all numbers."""
    connection = outputs.get("connection")
    if connection is None:
        return None
    proofs = {name: outputs[name] for name in _PROOFS if name in outputs}
    return _ANY.validate_python({"protocol": "ssh", **connection, **proofs})
