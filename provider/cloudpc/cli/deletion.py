"""The end of a policy that is marked as deleted: it is removed with its last Cloud PC."""

from __future__ import annotations

from cloudpc.cli.context import Project
from cloudpc.cli.output import err, out
from cloudpc.model.errors import ProvisioningError
from cloudpc.operations.inventory import Inventory, named
from cloudpc.operations.records import StackRecord


def mark(project: Project, policy: str) -> None:
    """Write into the policy's file that it is to go.

    Raises:
        EngineError: it can't be written.
    """
    project.engine.read(["config", "set", "--stack", policy, "--type", "bool", "cloudpc:deleted", "true"])


def keep_plain(project: Project, policy: str) -> None:
    """Undo what the engine does to the mark whenever it writes the file for another reason: text of a truth value.

    It reads either; editors and reviewers expect what the schema says.
    """
    file = project.file(policy)
    text = file.read_text(encoding="utf-8")
    if (plain := text.replace('cloudpc:deleted: "true"', "cloudpc:deleted: true")) != text:
        file.write_text(plain, encoding="utf-8")


def remove_if_over(project: Project, record: StackRecord) -> bool:
    """Remove stack and file of a policy that is marked as deleted, once it has no Cloud PC left.

    Raises:
        EngineError: Pulumi refused; the next run goes on with it.
    """
    policy = record.policy
    if not project.is_marked_as_deleted(policy) or not all(c.is_gone for c in record.cloud_pcs):
        return False
    if why := _kept_because(project, record):
        err.print(f"{policy} is marked as deleted, and kept: {why}")
        return False
    # nothing is protected any longer, and the provider has nothing left to do
    project.engine.read(["destroy", "--stack", policy, "--yes", "--skip-preview"])
    project.engine.read(["stack", "rm", policy, "--yes"])
    file = project.file(policy)
    file.unlink(missing_ok=True)  # as a rule Pulumi has done so
    shown = project.shown(policy)
    out.print(f"The policy {policy} was marked as deleted and has no Cloud PC left: its stack and {shown} are removed.")
    return True


def _kept_because(project: Project, record: StackRecord) -> str:
    """Machines that its state does not know could hardly be found again without the policy's hosts."""
    from cloudpc.configuration import parsing
    from cloudpc.operations.runtime import Runtime

    surroundings = parsing.parse_surroundings(project.values(record.policy))
    installation = project.installation(record.policy, record)
    try:
        runtime = Runtime(surroundings, project.stacks_folder)
        found = Inventory().unknown(runtime.hosts, installation, record.policy)
    except ProvisioningError as error:
        return f"its hosts can't be looked at: {error.message}"
    return (
        f"there are machines of it that its state does not know: {named(found)}; see `cloudpc doctor`" if found else ""
    )
