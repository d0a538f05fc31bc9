"""Update the kernel: a machine as it is gets the kernel of its image's current build. Graph has no such action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from cloudpc.model.abilities import MovesKernels
from cloudpc.model.cloud_pc import DesiredCloudPC, PolicySettings, RecordedCloudPC
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.rules.actions.case import Candidate, Request
from cloudpc.rules.actions.on_machine import Came, OnMachine
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

_PC = TypeVar("_PC", bound=DesiredCloudPC)


@dataclass(frozen=True)
class OwnKernel(Reason):
    """A custom image's machines boot from their own disk."""

    def __str__(self) -> str:
        return "a machine of a custom image has its kernel on its own disk; update it there"


@dataclass(frozen=True)
class OtherImage(Reason):
    """Nothing but a reprovision gives a machine another image."""

    made_of: str
    today: str

    def __str__(self) -> str:
        return f"it was made from the image {self.made_of}, and the policy now names {self.today}"


@dataclass(frozen=True)
class HasIt(Reason):
    """There is no newer build."""

    image_id: str

    def __str__(self) -> str:
        return f"it already has the kernel of the current build of {self.image_id}"


@dataclass(frozen=True)
class NoForm(Reason):
    """A kernel of another kind of image does not start it."""

    image_id: str

    def __str__(self) -> str:
        return f"no host of the policy takes the form of the image {self.image_id} that it was made from"


class UpdateKernel(OnMachine[Asked]):
    """Whoever asks by `cloudpc:actions` has it done also where it changes nothing."""

    name = "updateKernel"
    command = "update-kernel"
    help = (
        "Give Cloud PCs the kernel of their image's current build, from their next start on.\n\n"
        "For those made from a recipe, after `cloudpc image build` has built it again. Nothing on them is lost."
    )
    description = "Raised: from its next start on it runs the kernel of its image's current build."
    can_be = "given another kernel"
    notice = "gets the kernel of its image's current build at its next start; nothing is lost"

    def count(self, pc: DesiredCloudPC) -> int:
        return pc.kernel_generation

    def counted(self, pc: _PC, generation: int) -> _PC:
        return pc.model_copy(update={"kernel_generation": generation})

    def changes(self, request: Request[Asked]) -> dict[str, object]:
        return {"kernel_digest": _newest(request.recorded, request.settings)}

    not_done = "keeps its kernel; the next run tries again"

    def work(self, at: Workplace) -> Came:
        host, machine = at.host, at.recorded.machine_id
        if not isinstance(host, MovesKernels):
            message = f"machines on {host.name} boot the kernel on their own disk; update it there"
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, message, retriable=False)
        image = at.image(at.desired.settings.model_copy(update={"image_digest": at.desired.kernel_digest}))
        host.bring_image(image, at.watch)
        at.wake()
        at.watch.note(f"kernel of {image.image_id} on {host.name}")
        return Came(host.update_kernel(machine, image, at.watch))

    def after(self, recorded: RecordedCloudPC, desired: DesiredCloudPC) -> RecordedCloudPC:
        return super().after(recorded, desired).model_copy(update={"kernel_digest": desired.kernel_digest})

    def why_not(self, request: Request[Asked]) -> Reason | None:
        made_with, settings = request.recorded.settings, request.settings
        if made_with.image_type == "custom":
            return OwnKernel()
        if (settings.image_type, settings.image_id) != (made_with.image_type, made_with.image_id):
            return OtherImage(made_with.image_id, settings.image_id)
        return None if _newest(request.recorded, settings) else NoForm(settings.image_id)

    def refusal(self, candidate: Candidate[Asked]) -> Reason | None:
        if why := super().refusal(candidate):
            return why
        recorded, settings = candidate.recorded, candidate.settings_of_today
        has = recorded.kernel_digest or recorded.settings.image_digest
        return HasIt(settings.image_id) if settings and _newest(recorded, settings) == has else None


def _newest(recorded: RecordedCloudPC, settings: PolicySettings) -> str:
    """The build that the policy has now, of the kind that the machine was made of; empty: it has none of that kind."""
    return settings.image_digests.get(recorded.settings.image_kind, "")


UPDATE_KERNEL = UpdateKernel()
