"""What pages load beside themselves. Its address has a sum of all of it, so that browsers may keep it for good.

Behind a proxy a desktop is 6 MB of script: once for each version, and not at each opening.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from cloudpc.files import packaged

OWN = Path(__file__).with_name("static")
_FOR_GOOD = "public, max-age=31536000, immutable"


def from_npm() -> Path:
    """What tools/web/fetch has brought; in a checkout it may not be there, and pages work without."""
    return packaged.root() / "build" / "web"


@cache
def base() -> str:
    """The address of our own ones, as they were when this was asked first; those from npm are below it, in `npm`."""
    sum_of_all = hashlib.sha256()
    for root in (OWN, from_npm()):
        for file in _files(root):
            sum_of_all.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
            sum_of_all.update(file.read_bytes())
    return f"/static/{sum_of_all.hexdigest()[:20]}"


def routes() -> list[BaseRoute]:
    """That serve them, at this address alone: at an older one they would be kept as what they are not."""
    return [
        Mount(f"{base()}/npm", _Kept(directory=from_npm(), check_dir=False)),
        Mount(base(), _Kept(directory=OWN)),
    ]


def _files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


class _Kept(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["cache-control"] = _FOR_GOOD
        return answer
