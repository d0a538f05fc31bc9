// The desktop in a page. It holds no password, and has no say in where the connection goes: the server knows both.
import "./npm/@devolutions/iron-remote-desktop/iron-remote-desktop.js";
import { Backend, enableCredssp, init } from "./npm/@devolutions/iron-remote-desktop-rdp/iron-remote-desktop-rdp.js";
import { ticket } from "./ticket.js";

const place = document.getElementById("desktop");
const said = document.getElementById("said");
const buttons = Object.fromEntries(["again", "keys", "whole"].map((id) => [id, document.getElementById(id)]));
const began = performance.now();
const gone = "The server has stopped, or is out of reach.";
let socket;

function say(text, isOpen) {
  said.textContent = text;
  buttons.again.hidden = isOpen !== false;
  buttons.keys.hidden = buttons.whole.hidden = !isOpen;
}

// IronRDP keeps to itself with which words its connection was closed, and closes it itself as soon as it is refused, before
// the server's words for that have come. Each connection keeps its own: one may be closed long after the next was opened.
const patience = 1000;
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  words = "";
  constructor(...given) {
    super(...given);
    socket = this;
    this.addEventListener("close", (event) => {
      if (event.code !== 1000) this.words = event.reason || (event.code === 1012 || event.code === 1006 ? gone : "");
    });
  }
  close(...given) {
    setTimeout(() => super.close(...given), patience);
  }
};

// As large as the window has room for, in whole tiles' worth; a phone scrolls.
function size() {
  const width = Math.max(800, Math.floor(place.clientWidth / 4) * 4);
  const height = Math.max(600, Math.floor((window.innerHeight - place.offsetTop - 8) / 4) * 4);
  return { width, height };
}

const shown = document.createElement("iron-remote-desktop");

// A connection's end and the words for it are two events: which comes first is chance.
async function end(otherwise) {
  for (let waited = 0; !socket?.words && waited <= patience; waited += 50) await new Promise((done) => setTimeout(done, 50));
  say(socket?.words || otherwise, false);
}

async function connect(ui) {
  socket = undefined;
  say("Connecting…");
  let token;
  try {
    token = await ticket(place.dataset.at, place.dataset.csrf);
  } catch (error) {
    say(error instanceof TypeError ? gone : error.message, false); // fetch says no more
    return;
  }
  try {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const config = ui.configBuilder()
      .withUsername("").withPassword("").withDestination("desktop")
      .withProxyAddress(`${scheme}://${location.host}${place.dataset.at}/connection`)
      .withAuthToken(token)
      .withDesktopSize(size())
      .withExtension(enableCredssp(false)) // xrdp has none; TLS is the server's, with the recorded certificate
      .build();
    const session = await ui.connect(config);
    ui.setVisibility(true);
    place.dataset.connectedAfter = Math.round(performance.now() - began);
    say("Connected. A new session takes a moment to appear.", true);
    shown.shadowRoot?.querySelector("canvas")?.focus();
    await session.run();
  } catch (error) { // IronRDP's own words are about its parts
    console.error(error);
    await end("The desktop can't be shown. Try again in a minute.");
    return;
  }
  await end("The desktop's session has ended.");
}

await init("ERROR");
shown.setAttribute("scale", "real");
shown.module = Backend;
shown.addEventListener("ready", (event) => {
  const ui = event.detail.irgUserInteraction;
  buttons.again.addEventListener("click", () => connect(ui));
  buttons.keys.addEventListener("click", () => ui.ctrlAltDel());
  buttons.whole.addEventListener("click", () => place.requestFullscreen());
  connect(ui);
});
place.append(shown);
