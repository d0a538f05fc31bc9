"""`cloudpc:actions`: what is asked for of single Cloud PCs, by action and by `<user id>/<service plan id>`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from cloudpc.model.policy import Part
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.today import Traces


def model() -> type[Part]:
    """What may stand there: a field for each action that there is."""
    fields: dict[str, Any] = {
        action.name: (action.trace, Field(default={}, alias=action.name, description=action.description))
        for action in ACTIONS
    }
    commands = "|".join(action.command for action in ACTIONS)
    doc = f"Generations by `<user id>/<service plan id>`; written by `cloudpc {commands}`."
    return create_model("ActionsConfig", __base__=Part, __doc__=doc, **fields)


def traces(given: Part | None) -> Traces:
    """What stands there, by action; None: nothing does."""
    return {action.name: getattr(given, action.name) if given else {} for action in ACTIONS}
