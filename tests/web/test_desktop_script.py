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
const [refused, reason] = JSON.parse(process.argv[1]);
const element = () => ({ dataset: { at: "/desktop" }, addEventListener() {}, setAttribute() {}, append() {} });
const elements = {};
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
const opens = async () => {
  const socket = new WebSocket("ws://here");
  if (reason) setTimeout(() => Socket.prototype.close.call(socket, 4502, reason), 100);
  socket.close(1000, "client dropped"); // before the server's words have come
  throw new Error("client dropped");
};
const ui = { configBuilder: () => builder, connect: opens, setVisibility() {} };
setTimeout(() => ready({ detail: { irgUserInteraction: ui } }), 0);
setTimeout(() => console.log(elements.said.textContent), 2500);
"""


@pytest.mark.parametrize(
    ("refused", "reason", "said"),
    [
        ("", "The desktop does not answer.", "The desktop does not answer."),
        ("", "", "The desktop can't be shown. Try again in a minute."),
        ("It is powered off.", "", "It is powered off."),
    ],
)
def test_the_servers_words_are_said_and_not_those_of_a_part(refused: str, reason: str, said: str) -> None:
    script = re.sub(r"^import .*$", "", (OWN / "desktop.js").read_text(), flags=re.MULTILINE)
    argv = [str(_NODE), "--input-type=module", "-e", _BROWSER + script, json.dumps([refused, reason])]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout.strip() == said, ran.stderr
