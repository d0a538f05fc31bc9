// What is live in pages: without it, each shows what was so when it was loaded.
"use strict";

const parts = document.querySelector("[data-live]");
const lines = document.querySelector("[data-lines]");

// Whoever is typing, or has a menu open, is not interrupted.
function isBusy() {
  const at = document.activeElement;
  return parts.contains(at) && at.matches("input, select, textarea");
}

async function renew() {
  const now = document.querySelector("[data-live]");
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) {
    location.reload(); // the server has started again, or the session is over: its page says so
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh || fresh.isEqualNode(now)) return;
  const at = now.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  now.replaceChildren(...fresh.childNodes);
  if (at) [...now.querySelectorAll("a[href]")].find((link) => link.getAttribute("href") === at)?.focus();
}

if (parts) {
  let waiting = 0;
  const news = new EventSource("/news");
  news.addEventListener("changed", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => isBusy() || renew(), 200);
  });
  let gone = null;
  news.onerror = () => {
    if (news.readyState === EventSource.CLOSED) location.reload(); // refused: the server has started again, and says so
    if (gone) return;
    gone = document.createElement("p");
    gone.className = "wrong";
    gone.setAttribute("role", "alert");
    gone.textContent = "The server does not answer. What is below was so before; this page tries again by itself.";
    parts.before(gone);
  };
  news.onopen = () => {
    if (gone) renew();
    gone?.remove();
    gone = null;
  };
}

if (lines) {
  const said = new EventSource(lines.dataset.lines);
  said.addEventListener("line", (event) => {
    lines.append(JSON.parse(event.data) + "\n");
    lines.parentElement.scrollTop = lines.parentElement.scrollHeight;
  });
  said.addEventListener("said", (event) => { document.querySelector("#said").textContent = JSON.parse(event.data); });
  said.addEventListener("over", () => {
    said.close();
    document.querySelector("#stop")?.remove();
  });
  said.onerror = () => {
    if (said.readyState === EventSource.CLOSED) location.reload(); // refused: the server has started again
    else document.querySelector("#said").textContent = "the server does not answer; this page tries again";
  };
}
