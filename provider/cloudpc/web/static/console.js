// A machine's screen, as its hypervisor shows it.
import RFB from "./npm/@novnc/novnc/core/rfb.js";

const place = document.getElementById("console");
const said = document.getElementById("said");
const again = document.getElementById("again");
const keys = document.getElementById("keys");
let screen;

function say(text, isOpen) {
  said.textContent = text;
  again.hidden = isOpen !== false;
  keys.hidden = !isOpen;
}

function connect() {
  say("Connecting…");
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}${place.dataset.at}/connection`);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("close", (event) => say(event.reason || "The server has stopped, or is out of reach.", false));
  screen = new RFB(place, socket);
  screen.addEventListener("connect", () => { say("Connected.", true); screen.focus(); });
}

again.addEventListener("click", () => { place.replaceChildren(); connect(); });
keys.addEventListener("click", () => { screen.sendCtrlAltDel(); screen.focus(); });
connect();
