"""Policies: their files as text, checked as one asks for it. Nothing is written: a change is a commit."""

from __future__ import annotations

import difflib
import tempfile
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from cloudpc.cli.context import Project
from cloudpc.model.errors import CloudPCError
from cloudpc.web.guard import form_of
from cloudpc.web.site import admin_of, site_of


class _Proposed(Project):
    """The project as it would be with another text for one policy; the rest is as it is."""

    def __init__(self, policy: str, file: Path) -> None:
        super().__init__(pass_over_sealed=True)
        self._policy, self._proposal = policy, file

    def file(self, policy_id: str) -> Path:
        return self._proposal if policy_id == self._policy else super().file(policy_id)

    def shown(self, policy_id: str) -> str:
        return f"{self.stacks_folder.name}/Pulumi.{policy_id}.yaml"


def policies(request: Request) -> Response:
    """All of them, and whether they can be run."""
    admin_of(request)
    site = site_of(request)
    snapshot = site.fleet.first()
    has = {name: sum(row.record.policy == name for row in snapshot.rows) for name in snapshot.policies}
    return site.page(request, "policies.html", snapshot=snapshot, has=has)


def policy(request: Request) -> Response:
    """One's file."""
    admin_of(request)
    text = _text_of(request)
    return site_of(request).page(request, "policy.html", name=_name_of(request), text=text, was=text, checked=None)


async def check(request: Request) -> Response:
    """What is wrong with a text for it, and what it changes."""
    form = await form_of(request)
    admin_of(request)
    return await run_in_threadpool(_checked, request, form.get("text", ""))


def _checked(request: Request, text: str) -> Response:
    name, was = _name_of(request), _text_of(request)
    proposed = text.replace("\r\n", "\n").rstrip("\n") + "\n"
    shown = f"stacks/Pulumi.{name}.yaml"
    diff = "".join(difflib.unified_diff(was.splitlines(True), proposed.splitlines(True), f"a/{shown}", f"b/{shown}"))
    return site_of(request).page(
        request, "policy.html", name=name, text=proposed, was=was,
        checked={"problems": _problems(name, proposed), "diff": diff, "file": shown},
    )  # fmt: skip


def _problems(name: str, text: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        file = Path(folder) / "proposed.yaml"
        file.write_text(text, "utf-8")
        project = _Proposed(name, file)
        try:
            return [str(problem) for problem in project.problems(name)]
        except CloudPCError as error:
            return [str(error)]


def _name_of(request: Request) -> str:
    """Of the policy in the address. Raises HTTPException 404: it has no file."""
    name = str(request.path_params["name"])
    if name not in Project().policy_ids():
        raise HTTPException(404)
    return name


def _text_of(request: Request) -> str:
    return Project().file(_name_of(request)).read_text("utf-8", errors="replace")


ROUTES: list[BaseRoute] = [
    Route("/policies", policies),
    Route("/policies/{name}", policy),
    Route("/policies/{name}", check, methods=["POST"]),
]
