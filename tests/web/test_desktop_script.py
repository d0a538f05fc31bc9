"""What the desktop's page says when a connection ends, by Playwright's own Node with stand-ins for a browser."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import playwright
import pytest

from cloudpc.web.static_files import OWN

_NODE = Path(playwright.__file__).parent / "driver" / "node"

_BROWSER = """
const [refused, reason, attempts] = JSON.parse(process.argv[1]);
const element = () => ({ dataset: { at: "/desktop" }, addEventListener() {}, setAttribute() {}, append() {} });
const again = {
  ...element(),
  addEventListener(_, then) { this.click = then; },
  set hidden(is) { if (!is) ended(); },
};
const elements = { again };
globalThis.document = { getElementById: (id) => elements[id] ??= element(), createElement: () => desktop };
globalThis.window = globalThis;
globalThis.location = { protocol: "http:", host: "here" };
globalThis.WebSocket = class extends EventTarget {
  close(code, reason) {
    if (!this.isClosed) this.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    this.isClosed = true;
  }
};
let ready;
const desktop = { ...element(), addEventListener: (_, then) => { ready = then; } };
const Backend = {}, enableCredssp = () => {}, init = async () => {};
const ticket = async () => { if (refused) throw new Error(refused); return "t-1"; };
const builder = new Proxy({}, { get: () => () => builder });
const sockets = [];
let left = attempts;
const ended = () => (--left ? again.click() : console.log(elements.said.textContent));
const opens = async () => {
  for (const before of sockets) before.dispatchEvent(Object.assign(new Event("close"), { code: 1006 })); // late
  const socket = new WebSocket("ws://here");
  sockets.push(socket);
  if (reason) setTimeout(() => Socket.prototype.close.call(socket, 4502, reason), 100);
  socket.close(1000, "client dropped"); // before the server's words have come
  throw new Error("client dropped");
};
const ui = { configBuilder: () => builder, connect: opens, setVisibility() {} };
setTimeout(() => ready({ detail: { irgUserInteraction: ui } }), 0);
"""


def _ran(refused: str, reason: str, attempts: int = 1) -> subprocess.CompletedProcess[str]:
    script = re.sub(r"^import .*$", "", (OWN / "desktop.js").read_text(), flags=re.MULTILINE)
    argv = [str(_NODE), "--input-type=module", "-e", _BROWSER + script, json.dumps([refused, reason, attempts])]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("refused", "reason", "said"),
    [
        ("", "The desktop does not answer.", "The desktop does not answer."),
        ("", "", "The desktop can't be shown. Try again in a minute."),
        ("It is powered off.", "", "It is powered off."),
    ],
)
def test_the_servers_words_are_said_and_not_those_of_a_part(refused: str, reason: str, said: str) -> None:
    ran = _ran(refused, reason)
    assert ran.stdout.strip() == said, ran.stderr


def test_a_connection_that_closes_late_says_nothing_of_the_next() -> None:
    ran = _ran("", "", attempts=2)
    assert ran.stdout.strip() == "The desktop can't be shown. Try again in a minute.", ran.stderr


def test_what_a_part_says_is_in_the_browsers_console() -> None:
    assert "client dropped" in _ran("", "The desktop does not answer.").stderr
