"""A tenant to try the demo against: `python -m tests.tenant --help`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cloudpc.directory import catalogue
from cloudpc.directory.local import LocalDirectory
from cloudpc.model.problems import InvalidConfigurationError
from tests.support.http_server import until_interrupted
from tests.tenant import samples
from tests.tenant.identifiers import guid
from tests.tenant.sign_in import SignIn
from tests.tenant.tenant import Logged, Tenant
from tests.tenant.tokens import Kind

_TOKEN = "CLOUDPC_GRAPH_TOKEN"
_ALLOWED: dict[str, tuple[Kind, ...]] = {
    "application": ("application",),
    "delegated": ("delegated",),
    "both": ("application", "delegated"),
}


def main(arguments: list[str] | None = None) -> int:
    """Run a tenant until Ctrl-C. Answers the exit code."""
    options = _parser().parse_args(arguments)
    try:
        tenant = Tenant(
            options.directory,
            port=options.port,
            allowed=_ALLOWED[options.allow],
            check=not options.no_check,
            follow=True,
            on_request=lambda logged: print(_printable(logged), flush=True),
        )
        tenant.on_bad_file = lambda problems: print(f"{problems}\nThe tenant stays as it was.", flush=True)
        _fill(tenant, options)
    except (InvalidConfigurationError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{error.filename or f'port {options.port}'}: {error.strerror}", file=sys.stderr)
        return 2
    with ExitStack() as running:
        running.enter_context(tenant)
        sign_in = None
        if options.sign_in:
            options.sign_in.mkdir(parents=True, exist_ok=True)
            sign_in = running.enter_context(SignIn(tenant, options.sign_in))
        print(_how_to(tenant, options, sign_in), flush=True)
        until_interrupted()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tenant",
        description="A stand-in for a tenant of Microsoft Entra and Intune, on this machine's loopback: Microsoft "
        "Graph over the users, groups and licences of an embedded directory's file. The file is read again when it "
        "changes: put a user into a group there, and the next `cloudpc up` sees it.",
        epilog="A guest that joins by itself: POST http://127.0.0.1:PORT/fake/guestJoined/NAME. "
        f"The token is a new one at each start, unless {_TOKEN} is set: then it is that.",
    )
    parser.add_argument("--directory", type=Path, required=True, help="YAML file, for example stacks/directory.yaml")
    parser.add_argument("--port", type=int, default=8365, help="of the endpoint; 0: any that is free (default: 8365)")
    parser.add_argument(
        "--allow", choices=_ALLOWED, default="both",
        help="tokens that are accepted: an application's own, a signed-in admin's, or both (default). Only an admin's "
        "can register devices (registration mode record)",
    )  # fmt: skip
    parser.add_argument("--state", type=Path, help="JSON file that keeps devices from one start to the next")
    parser.add_argument("--policies", type=Path, help="JSON file of provisioning policies, as Graph answers them")
    parser.add_argument(
        "--sign-in", type=Path, metavar="FOLDER",
        help="offer Entra's sign-in as well; its certificate is written there",
    )  # fmt: skip
    parser.add_argument("--token-lifetime", type=float, default=28800, metavar="SECONDS", help="default: 8 hours")
    parser.add_argument("--refuse-deletion", action="store_true", help="403 on DELETE of devices")
    parser.add_argument("--no-check", action="store_true", help="don't check requests and answers against the contract")
    return parser


def _fill(tenant: Tenant, options: argparse.Namespace) -> None:
    kind: Kind = "application" if options.allow == "application" else "delegated"
    tenant.token = tenant.tokens.issue(kind, lifetime=options.token_lifetime, text=os.environ.get(_TOKEN))
    if options.refuse_deletion:
        tenant.faults.refuse_deletion()
    if options.policies:
        read = _json(options.policies)
        for policy in read.get("value", [read]) if isinstance(read, dict) else read:
            tenant.add_policy(policy)
    else:
        tenant.add_connection(samples.CONNECTION)
        tenant.add_policy(samples.POLICY, next(iter(tenant.groups), None))
    if options.state:
        if options.state.exists():
            tenant.restore(_json(options.state))
        tenant.changed = _saver(tenant, options.state)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None


def _saver(tenant: Tenant, path: Path) -> Callable[[], None]:
    def save() -> None:
        new = path.with_name(f"{path.name}.new")
        new.write_text(json.dumps(tenant.dump(), indent=1), encoding="utf-8")
        new.replace(path)

    return save


def _how_to(tenant: Tenant, options: argparse.Namespace, sign_in: SignIn | None) -> str:
    lines = [
        f"A tenant over {options.directory}: {len(tenant.users)} users, {len(tenant.groups)} groups.",
        "",
        "In stacks/Pulumi.<policy>.yaml, below config:",
        *_directory(options.directory),
        f'  cloudpc:graph: {{endpoint: "{tenant.endpoint}", auth: token}}',
        "In the shell that runs cloudpc:",
        f"  export {_TOKEN}={shlex.quote(tenant.token)}",
    ]
    if sign_in:
        lines += ["Or, with auth: environment:"]
        lines += [f"  export {name}={shlex.quote(value)}" for name, value in sign_in.environment.items()]
    lines += ["Groups:", *(f"  {id_}  {group['displayName']}" for id_, group in tenant.groups.items())]
    return "\n".join([*lines, "", "Requests (Ctrl-C ends the tenant):"])


def _directory(file: Path) -> list[str]:
    """With the sizes that the file gives plans of its own, under the ids they have in the tenant."""
    plans = LocalDirectory(file, file.name).snapshot([]).service_plans
    own = [plan for plan in plans.values() if plan.id not in catalogue.service_plans()]
    if not own:
        return ["  cloudpc:directory: {kind: graph}"]
    lines = ["  cloudpc:directory:", "    kind: graph", "    servicePlans:"]
    for plan in own:
        size = f"vCpuCount: {plan.vcpu_count}, ramInGB: {plan.ram_in_gb:g}, storageInGB: {plan.storage_in_gb}"
        name = json.dumps(plan.display_name)
        lines.append(f"      - {{id: {guid('servicePlan', plan.id)}, displayName: {name}, {size}}}")
    return lines


def _printable(logged: Logged) -> str:
    return "".join(c if c.isprintable() else "?" for c in str(logged))


if __name__ == "__main__":
    sys.exit(main())
