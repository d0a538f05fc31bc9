"""Policies: their files as text, checked as one asks for it. Nothing is written: a change is a commit."""

from __future__ import annotations

import difflib
import io
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

_LONGEST_TEXT = 4 * 2**20
"""Bytes of a form with a policy's text, as it is sent."""


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
    admin_of(request)
    form = await form_of(request, _LONGEST_TEXT)
    return await run_in_threadpool(_checked, request, form.get("text", ""))


def _checked(request: Request, text: str) -> Response:
    name, was = _name_of(request), _text_of(request)
    proposed, shown = _as_in_file(text, was), f"stacks/Pulumi.{name}.yaml"
    return site_of(request).page(
        request, "policy.html", name=name, text=proposed, was=was,
        checked={"problems": _problems(name, proposed), "diff": _difference(shown, was, proposed), "file": shown,
                 "has_cr": "\r" in was},
    )  # fmt: skip


def _as_in_file(text: str, was: str) -> str:
    """A form's text with the file's line ends, and its last line's: browsers send theirs."""
    lines = text.replace("\r\n", "\n").rstrip("\n")
    has_cr = 0 < was.count("\n") == was.count("\r\n")
    last = was[len(was.rstrip("\r\n")) :] if was else "\n"
    return (lines.replace("\n", "\r\n") if has_cr else lines) + last


def _difference(shown: str, was: str, proposed: str) -> str:
    """As `git apply` takes it, which knows no line end but a newline."""
    before, after = (list(io.StringIO(text, newline="\n")) for text in (was, proposed))
    lines = difflib.unified_diff(before, after, f"a/{shown}", f"b/{shown}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _problems(name: str, text: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        file = Path(folder) / "proposed.yaml"
        file.write_text(text, "utf-8", newline="")
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
    with Project().file(_name_of(request)).open(encoding="utf-8", errors="replace", newline="") as file:
        return file.read()


ROUTES: list[BaseRoute] = [
    Route("/policies", policies),
    Route("/policies/{name}", policy),
    Route("/policies/{name}", check, methods=["POST"]),
]
