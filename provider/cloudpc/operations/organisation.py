"""The directories that Cloud PCs are made known to, as one stack's configuration names them; opened when first used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from cloudpc.configuration.parsing import Surroundings
from cloudpc.connections import files
from cloudpc.model.devices import DeviceRegistry, Domain
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.provisioning.registration import AccessPass, Registration

log = logging.getLogger(__name__)

Mode = Literal["record", "adopt"]


class Organisation:
    """Entra, Intune and the domains of connections. Used from many threads at once.

    Args:
        surroundings: as configured.
        folder: of the connections' files.
        tell: is given what an admin should know though nothing failed.
    """

    def __init__(self, surroundings: Surroundings, folder: Path, tell: Callable[[str], None] = log.warning) -> None:
        self._surroundings = surroundings
        self._tell = tell
        self._folder = folder
        self._lock = threading.Lock()
        self._devices: dict[Mode, DeviceRegistry] = {}
        self._domains: dict[str, Domain] = {}

    def registration(self, recorded: Mode | None = None) -> Registration:
        """What registers Cloud PCs, and what removes one that was registered this way.

        Args:
            recorded: how it was registered, whatever is configured now.
        """
        configured = self._surroundings.devices
        mode = recorded or (None if configured.registration == "none" else configured.registration)
        credentials = self._surroundings.credentials
        wants_pass = credentials.kind == "temporaryAccessPass"
        return Registration(
            devices=self.devices(mode or "record") if mode or wants_pass else None,
            registers=mode is not None,
            joins=mode == "adopt",
            timeout=configured.timeout_in_seconds,
            domain=self.domain,
            access_pass=AccessPass(credentials.lifetime_in_minutes or 60, credentials.is_usable_once)
            if wants_pass
            else None,
        )

    def devices(self, mode: Mode) -> DeviceRegistry:
        """Entra and Intune."""
        from cloudpc.devices.entra import EntraDevices
        from cloudpc.graph.client import Graph

        with self._lock:
            if mode not in self._devices:
                self._devices[mode] = EntraDevices(Graph(self._surroundings.graph), mode, self._tell)
            return self._devices[mode]

    def domain(self, connection: str) -> Domain:
        """The domain of a connection.

        Raises:
            ProvisioningError: DOMAIN_JOIN_FAILED; the connection's file is gone or wrong.
        """
        from cloudpc.devices.active_directory import ActiveDirectory

        with self._lock:
            if connection not in self._domains:
                try:
                    read = files.read(self._folder, connection)
                except InvalidConfigurationError as error:
                    message = "; ".join(map(str, error.problems))
                    raise ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, message, retriable=False) from None
                self._domains[connection] = ActiveDirectory(connection, read, self._folder)
            return self._domains[connection]
