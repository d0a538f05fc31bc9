"""A provider for test_plugin_process.py. `do` in the properties says how a call behaves."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ResourceProvider

from cloudpc.iac import engine_log, plugin_process
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError

_PATIENCE = 60.0
_released = threading.Event()
_changed = threading.Condition()
_running = 0


def _note(what: str, call: plugin_process.Call) -> None:
    (Path(os.environ["TOY_FOLDER"]) / f"{what} {call.urn.rpartition('::')[2]}").touch()


class ToyProvider(ResourceProvider):
    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        call = plugin_process.current_call()
        assert call is not None
        return CheckResult({**news, "seen": f"{call.operation} {call.urn}"}, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        _released.set()
        return DiffResult(changes=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        call = plugin_process.current_call()
        assert call is not None
        getattr(self, f"_{props['do']}")(props, call)
        return CreateResult("id", {"urn": call.urn, "operation": call.operation, "timeout": call.timeout})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        call = plugin_process.current_call()
        assert call is not None
        _note("deleted", call)

    def _nothing(self, _props: dict[str, Any], _call: plugin_process.Call) -> None:
        pass

    def _meet(self, props: dict[str, Any], _call: plugin_process.Call) -> None:
        """Returns once as many creates as wanted run at the same time."""
        global _running
        with _changed:
            _running += 1
            _changed.notify_all()
            assert _changed.wait_for(lambda: _running >= props["wanted"], timeout=_PATIENCE)

    def _wait_for_diff(self, _props: dict[str, Any], call: plugin_process.Call) -> None:
        _note("begun", call)
        assert _released.wait(_PATIENCE)

    def _wait_for_cancel(self, _props: dict[str, Any], call: plugin_process.Call) -> None:
        _note("begun", call)
        try:
            plugin_process.cancellation.wait(_PATIENCE)
        except Cancelled:
            threading.Event().wait(1.0)  # cleaning up takes a moment, which it must be given
            _note("cleaned", call)
            raise

    def _hear_nothing(self, _props: dict[str, Any], call: plugin_process.Call) -> None:
        _note("begun", call)
        threading.Event().wait(_PATIENCE)

    def _stumble(self, _props: dict[str, Any], _call: plugin_process.Call) -> None:
        raise KeyError("nobody expected this")

    def _fail(self, _props: dict[str, Any], _call: plugin_process.Call) -> None:
        raise ProvisioningError(ErrorCode.STORAGE_FULL, "The pool is full.")

    def _refuse(self, _props: dict[str, Any], _call: plugin_process.Call) -> None:
        raise plugin_process.Refusal("Alice is entitled to it.")

    def _tell(self, _props: dict[str, Any], call: plugin_process.Call) -> None:
        engine_log.log(call.urn, "first boot", ephemeral=True)
        engine_log.log(call.urn, "ready", severity=engine_log.Severity.WARNING)
