"""What the desktop's page says of the answer to its question for a ticket, as Playwright's own Node runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import playwright
import pytest

from cloudpc.web.static_files import OWN

_NODE = Path(playwright.__file__).parent / "driver" / "node"

_ASKS = """
globalThis.fetch = async () => new Response(process.argv[1], { status: Number(process.argv[2]) });
const { ticket } = await import(`data:text/javascript,${encodeURIComponent(process.argv[3])}`);
const asked = ticket("/cloud-pcs/1/desktop", "token");
await asked.then((given) => console.log(given), (error) => console.log(error.message));
"""
_PAGE = "<!doctype html><p>Something went wrong here"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, json.dumps({"ticket": "t-1"}), "t-1"),
        (409, json.dumps({"why": "It is powered off."}), "It is powered off."),
        (401, _PAGE, "You are no longer signed in"),
        (404, _PAGE, "There is no such Cloud PC of yours"),
        (500, _PAGE, "try again in a minute"),
        (503, _PAGE, "(503)"),
    ],
)
def test_people_read_words_whatever_is_answered(status: int, body: str, said: str) -> None:
    script = (OWN / "ticket.js").read_text()
    argv = [str(_NODE), "--input-type=module", "-e", _ASKS, body, str(status), script]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert said in ran.stdout
    assert "Unexpected token" not in ran.stdout
