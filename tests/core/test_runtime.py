"""What a run asks of its hosts, whatever they do."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from cloudpc.configuration import parse_surroundings
from cloudpc.iac.runtime import Runtime
from cloudpc.provisioning.errors import ErrorCode, ProvisioningError


def test_nothing_is_started_on_a_host_that_is_not_configured(tmp_path: Path) -> None:
    hosts = [{"name": "kvm1", "uri": f"fake://{tmp_path}/kvm1"}]
    runtime = Runtime(parse_surroundings({"cloudpc:hosts": hosts}), tmp_path)
    with pytest.raises(ProvisioningError, match="kvm2 is not in cloudpc:hosts") as raised:
        runtime.start(uuid4(), "kvm2")
    assert raised.value.code is ErrorCode.HOST_UNREACHABLE
