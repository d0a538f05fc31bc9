"""libvirt's errors as ours: code, whether another try helps, what to do."""

from __future__ import annotations

import libvirt
import pytest

from cloudpc.machines.libvirt import removal
from cloudpc.machines.libvirt.errors import classify, is_connection_error, unreachable
from cloudpc.model.errors import ErrorCode, ProvisioningError


def error(
    text: str, code: int = libvirt.VIR_ERR_INTERNAL_ERROR, domain: int = libvirt.VIR_FROM_QEMU
) -> libvirt.libvirtError:
    raised = libvirt.libvirtError(text)
    raised.err = (code, domain, text, libvirt.VIR_ERR_ERROR, text, None, None, -1, -1)
    return raised


@pytest.mark.parametrize(
    ("raised", "code", "retriable", "says"),
    [
        (
            error(
                "Cannot access storage file '/home/alice/pool/a.qcow2' (as uid:64055, gid:107): Permission denied",
                libvirt.VIR_ERR_SYSTEM_ERROR,
            ),
            ErrorCode.START_FAILED,
            False,
            "/home/alice/pool/a.qcow2",
        ),
        (
            error(
                "internal error: process exited while connecting to monitor: "
                "Could not open '/srv/x/base.qcow2': Permission denied"
            ),
            ErrorCode.START_FAILED,
            False,
            "/srv/x/base.qcow2",
        ),
        (
            error(
                "Cannot access backing file '/p/base.qcow2' of storage file '/p/a.qcow2' "
                "(as uid:64055, gid:107): No such file or directory",
                libvirt.VIR_ERR_SYSTEM_ERROR,
            ),
            ErrorCode.START_FAILED,
            True,
            "/p/base.qcow2",
        ),
        (
            error(
                "Couldn't create lock file for device '/dev/pts/0' in path '/var/lock/LCK.._pts_0': "
                "No such file or directory"
            ),
            ErrorCode.START_FAILED,
            True,
            "/var/lock/LCK.._pts_0 is not there",
        ),
        (
            error("internal error: cannot load AppArmor profile 'libvirt-0000'"),
            ErrorCode.START_FAILED,
            False,
            "AppArmor",
        ),
        (
            error(
                "cannot fill file '/p/a': No space left on device",
                libvirt.VIR_ERR_SYSTEM_ERROR,
                libvirt.VIR_FROM_STORAGE,
            ),
            ErrorCode.STORAGE_FULL,
            True,
            "full",
        ),
        (
            error(
                "process exited while connecting to monitor: "
                "cannot set up guest memory 'pc.ram': Cannot allocate memory"
            ),
            ErrorCode.START_FAILED,
            True,
            "memory",
        ),
        (
            error("access denied: 'QEMU' denied access", libvirt.VIR_ERR_ACCESS_DENIED),
            ErrorCode.START_FAILED,
            False,
            "refuses",
        ),
        (error("something nobody has thought of"), ErrorCode.START_FAILED, True, "something nobody has thought of"),
        (
            error("client socket is closed", libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC),
            ErrorCode.HOST_UNREACHABLE,
            True,
            "gone",
        ),
        (
            error(
                "End of file while reading data: Input/output error",
                libvirt.VIR_ERR_SYSTEM_ERROR,
                libvirt.VIR_FROM_NONE,
            ),
            ErrorCode.HOST_UNREACHABLE,
            True,
            "gone",
        ),
    ],
)
def test_classified(raised, code, retriable, says) -> None:
    found = classify(raised, "start cloudpc-x", ErrorCode.START_FAILED)
    assert (found.code, found.retriable) == (code, retriable)
    assert says in found.message
    assert found.message.startswith("Could not start cloudpc-x: ")
    assert "virDomain" not in found.message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied", "group libvirt"),
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': No such file or directory", "Start libvirt"),
        ("unable to connect to server at 'kvm1:16509': Connection refused", "Start libvirt"),
        ("Cannot recv data: Connection reset by peer", "Start libvirt"),  # one that is ending takes no more questions
        ("Cannot recv data: Host key verification failed.: Connection reset by peer", "by hand"),
        ("Cannot recv data: alice@kvm1: Permission denied (publickey,password).: Connection reset by peer", "ssh"),
        ("unable to resolve service 'kvm9': Name or service not known", "virsh -c"),
    ],
)
def test_a_host_that_cannot_be_reached_says_why(text, hint) -> None:
    found = unreachable(error(text, libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC), "connect to qemu:///system")
    assert found.code is ErrorCode.HOST_UNREACHABLE
    assert hint in found.hint


def test_a_guest_s_own_trouble_is_not_the_connection_s() -> None:
    assert not is_connection_error(
        error("Requested operation is not valid: domain is not running", libvirt.VIR_ERR_OPERATION_INVALID)
    )
    assert not is_connection_error(error("failed to connect to monitor socket: Connection refused"))
    assert not is_connection_error(error("Guest agent is not responding", libvirt.VIR_ERR_AGENT_UNRESPONSIVE))


class Domain:
    """A domain whose `destroy` answers so, one after another."""

    def __init__(self, *answers: libvirt.libvirtError | None) -> None:
        self._answers = iter(answers)
        self.asked = 0

    def name(self) -> str:
        return "cloudpc-1"

    def isActive(self) -> int:
        return 1

    def destroy(self) -> None:
        self.asked += 1
        if answer := next(self._answers):
            raise answer


LOCKED = error("Timed out during operation: cannot acquire state change lock", libvirt.VIR_ERR_OPERATION_TIMEOUT)
HANGS = error("Failed to terminate process 12 with SIGKILL: Device or resource busy", libvirt.VIR_ERR_SYSTEM_ERROR)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_PAUSE", 0.0)


@pytest.mark.usefixtures("at_once")
def test_a_domain_that_libvirt_does_not_let_go_of_waits_for_the_next_run() -> None:
    domain = Domain(LOCKED, LOCKED)
    with pytest.raises(ProvisioningError) as caught:
        removal.stop(domain)
    assert caught.value.code is ErrorCode.MACHINE_GOING
    assert caught.value.code.meaning.waits
    assert "state change lock" in caught.value.message
    assert "/run/libvirt/qemu/cloudpc-1.xml" in (caught.value.hint or "")


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("answers", [(LOCKED, None), (HANGS, HANGS, HANGS, HANGS, None)])
def test_a_domain_that_is_busy_or_hangs_for_a_moment_is_asked_again(
    answers: tuple[libvirt.libvirtError | None, ...],
) -> None:
    domain = Domain(*answers)
    removal.stop(domain)
    assert domain.asked == len(answers)


@pytest.mark.usefixtures("at_once")
def test_a_domain_that_goes_on_hanging_is_an_error() -> None:
    with pytest.raises(ProvisioningError) as caught:
        removal.stop(Domain(*[HANGS] * 5))
    assert caught.value.code is ErrorCode.HYPERVISOR_ERROR
