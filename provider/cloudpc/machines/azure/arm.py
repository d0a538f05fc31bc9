"""Azure Resource Manager, as one host's code calls it: clients, raw requests, long-running operations, errors.

azure.* takes half a second to import: only what runs on an Azure host does so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from cloudpc.machines.azure import arm_error, errors
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.sign_in import cloud_of, sign_in
from cloudpc.microsoft.sign_in import UNREACHABLE, SignInError, proxy_note
from cloudpc.microsoft.tokens import Tokens
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.exceptions import AzureError
    from azure.core.polling import LROPoller
    from azure.mgmt.compute import ComputeManagementClient
    from azure.mgmt.network import NetworkManagementClient

    from cloudpc.machines.azure.operation import Operation
    from cloudpc.machines.azure.pipeline import Transport

API: Final[Mapping[str, str]] = {
    "compute": "2026-04-01",  # virtual machines, run commands, extensions, usages, managed and marketplace images
    "disks": "2026-03-02",
    "galleries": "2026-03-03",
    "skus": "2021-07-01",
    "network": "2026-03-01",
    "resources": "2025-04-01",  # groups, tags, providers
    "authorization": "2022-04-01",
}
"""Versions of Azure's interfaces; those that the clients send, and that the tests' contracts are of."""
_INTERVAL = 5.0
"""Seconds between two looks at an operation where Azure doesn't say."""
_LOOPBACK_INTERVAL = 0.05

T = TypeVar("T")


class Arm:
    """What one entry of `cloudpc:hosts` reaches in Azure. Safe to be used by several threads."""

    def __init__(self, config: AzureHostConfig) -> None:
        self.config = config
        self.group = config.resource_group
        self.group_path = config.group_path
        self._endpoint = config.endpoint or f"https://{cloud_of(config).arm}"
        self._scope = cloud_of(config).arm_scope
        self._tokens = Tokens(sign_in(config))
        self.interval = _LOOPBACK_INTERVAL if config.endpoint else _INTERVAL
        """Seconds between two looks at what takes long, where Azure doesn't say."""

    @cached_property
    def compute(self) -> ComputeManagementClient:
        """Azure's own client for virtual machines, disks, images, sizes; its calls belong inside `asking`."""
        from azure.mgmt.compute import ComputeManagementClient

        return ComputeManagementClient(self._tokens, self.config.subscription_id, **self._options())

    @cached_property
    def network(self) -> NetworkManagementClient:
        """The same for network cards and networks."""
        from azure.mgmt.network import NetworkManagementClient

        return NetworkManagementClient(self._tokens, self.config.subscription_id, **self._options())

    def get(self, path: str, api: str, **query: str) -> dict[str, Any] | None:
        """What is at this path, None if it is not there; to be called inside `asking`.

        Args:
            path: from /subscriptions on.
            api: a key of API.
            query: of the address, beside the version.
        """
        from azure.core.exceptions import HttpResponseError

        try:
            return self.send("GET", path, api, query=query)
        except HttpResponseError as error:
            if arm_error.of(error).is_missing:
                return None
            raise

    def send(
        self,
        method: str,
        path: str,
        api: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The answer to a request that no client has a method for, {} where it has no content; inside `asking`."""
        from azure.core.exceptions import HttpResponseError
        from azure.core.rest import HttpRequest

        request = HttpRequest(
            method, self._endpoint + path, params={"api-version": API[api], **(query or {})}, json=body
        )
        response = self._raw.send_request(request)
        if response.status_code >= 300:
            raise HttpResponseError(response=response)
        return dict(response.json()) if response.content else {}

    @contextmanager
    def asking(self, doing: str, watch: Watch | None = None) -> Iterator[None]:
        """Calls inside raise our errors, and their pauses and waits end when the watch is cancelled.

        Args:
            doing: completes "could not …".
            watch: gets the pauses, too; None: whoever listens already.

        Raises:
            AzureFailed, Cancelled.
        """
        from azure.core.exceptions import AzureError

        from cloudpc.machines.azure.pipeline import watching

        with watching(doing, watch):
            try:
                yield
            except AzureError as error:
                raise errors.classify(self._heard(error), doing, self.config.name) from error
            except SignInError as error:
                status = 0 if error.code == UNREACHABLE else 401
                found = arm_error.ArmError(error.code, error.message, status)
                raise errors.classify(found, doing, self.config.name) from None

    def begin(self, call: Callable[..., LROPoller[T]], *arguments: Any, **options: Any) -> Operation[T]:
        """A long-running operation that a client's `begin_…` starts; inside `asking`, as all that is done with it.

        Args:
            call: such as `arm.compute.virtual_machines.begin_start`.
            arguments: its own.
            options: its own.
        """
        from cloudpc.machines.azure.operation import Operation, polling

        how = polling(self.interval)
        return Operation(call(*arguments, polling=how, **options), how)

    def follow(self, doing: str, watch: Watch, call: Callable[..., LROPoller[T]], *arguments: Any, **options: Any) -> T:
        """The same, and what came of it.

        Raises:
            AzureFailed, Cancelled.
            ProvisioningError: HOST_UNREACHABLE; it is not done when the watch's time is over.
        """
        with self.asking(doing, watch):
            return self._done(doing, self.begin(call, *arguments, **options)).result()

    def complete(
        self, doing: str, watch: Watch, call: Callable[..., LROPoller[Any]], *arguments: Any, first: float = 0
    ) -> None:
        """The same for what is known beforehand: Azure is not asked what came of it.

        Args:
            doing: completes "could not …".
            watch: ends it.
            call: such as `arm.network.network_interfaces.begin_create_or_update`.
            arguments: its own.
            first: seconds before the first look.
        """
        with self.asking(doing, watch):
            self._done(doing, self.begin(call, *arguments), first).check()

    def _done(self, doing: str, operation: Operation[T], first: float = 0) -> Operation[T]:
        if not operation.wait(first):
            message = f"could not {doing} on {self.config.name} in time: Azure is still working on it"
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, message)
        return operation

    def tenant(self) -> str:
        """Id of the tenant that the sign-in is of; nothing where its token doesn't say."""
        with self.asking("sign in"):
            self._tokens.get_token(self._scope)
        return self._tokens.tenant_id

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""
        if (transport := self.__dict__.get("_transport")) is not None:
            transport.close()
        for made in ("_transport", "_raw", "compute", "network"):
            self.__dict__.pop(made, None)
        self._tokens.close()

    def _heard(self, error: AzureError) -> arm_error.ArmError:
        """What an exception is about; where there was no answer, from whom."""
        from azure.core.exceptions import ClientAuthenticationError

        found = arm_error.of(error)
        if found.status or isinstance(error, ClientAuthenticationError):
            return found
        reason = f"{urlsplit(self._endpoint).netloc} can't be reached: {found.message}{proxy_note(self._endpoint)}"
        return replace(found, message=reason)

    @cached_property
    def _transport(self) -> Transport:
        from cloudpc.machines.azure import pipeline

        return pipeline.transport(loopback=bool(self.config.endpoint))

    @cached_property
    def _raw(self) -> PipelineClient[Any, Any]:
        from azure.core import PipelineClient

        options = self._options()
        return PipelineClient(self._endpoint, policies=options["policies"], transport=options["transport"])

    def _options(self) -> dict[str, Any]:
        from cloudpc.machines.azure import pipeline

        return {
            "base_url": self._endpoint,
            "credential_scopes": [self._scope],
            "policies": pipeline.policies(self._tokens, self._scope, self._endpoint),
            "transport": self._transport,
        }
