"""How many Cloud PCs a policy provides: who is entitled, less those whom another policy serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, counted
from cloudpc.configuration.reading import StackInputs
from cloudpc.iac.engine import EngineError
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.rules import ownership
from cloudpc.rules.entitlement import entitled
from cloudpc.rules.ownership import PolicyFacts


@dataclass(frozen=True)
class Others:
    """What state says of who serves whom.

    Args:
        facts: of the policies that have run; None: not known.
    """

    facts: Sequence[PolicyFacts] | None

    @classmethod
    def of(cls, project: Project) -> Others:
        """Where there is one policy alone, state need not be asked, nor be there."""
        files = project.policy_ids()
        if len(files) < 2:
            return cls(())
        try:
            return cls([stack.facts(stack.assigned if stack.policy in files else {}) for stack in project.records()])
        except (EngineError, CommandError, InvalidConfigurationError):
            return cls(None)

    def count(self, name: str, inputs: StackInputs) -> str:
        """How many Cloud PCs a policy provides, in words; users whom another policy serves are counted separately."""
        owed = entitled(inputs.policy, inputs.snapshot)
        if self.facts is None:
            return (
                f"provides {counted(len(owed))}, less those of users whom another policy serves: state can't be read, "
                "so it is not known which"
            )
        serving, held = ownership.owners(self.facts, inputs.snapshot), ownership.held(self.facts)
        own = [e for e in owed if serving.get(e.user.id, name) == name and held.get(e.key, name) == name]
        elsewhere = len(owed) - len(own)
        return f"provides {counted(len(own))}" + (f"; another policy provides {elsewhere} more" if elsewhere else "")
