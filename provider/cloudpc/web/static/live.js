// What is live in pages: without it, each shows what was so when it was loaded.
"use strict";

const parts = () => document.querySelector("[data-live]"); // a search puts another one in its place
const lines = document.querySelector("[data-lines]");

// Whoever is typing, or has a menu open, is not interrupted.
function isBusy() {
  const at = document.activeElement;
  return parts()?.contains(at) && at.matches("input, select, textarea");
}

async function renew() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) {
    location.reload(); // the server has started again, or the session is over: its page says so
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  const now = parts();
  if (!fresh || !now || fresh.isEqualNode(now)) return;
  const at = now.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  now.replaceChildren(...fresh.childNodes);
  if (at) [...now.querySelectorAll("a[href]")].find((link) => link.getAttribute("href") === at)?.focus();
}

// Browsers allow six connections to a server, of all its pages together: a page that nobody sees keeps none.
function whileVisible(open) {
  let source = document.hidden ? null : open();
  document.addEventListener("visibilitychange", () => {
    source?.close();
    source = document.hidden ? null : open();
  });
}

if (parts()) {
  let waiting = 0;
  let gone = null;
  let isFirst = !document.hidden;
  const changed = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => isBusy() || renew(), 200);
  };
  whileVisible(() => {
    const news = new EventSource(`/news?since=${document.body.dataset.news}`); // of the page, not of now
    let isStale = !isFirst; // what happened while nobody saw it is not told again
    isFirst = false;
    news.addEventListener("changed", changed);
    news.onerror = () => {
      if (news.readyState === EventSource.CLOSED) location.reload(); // refused: the server has started again, and says so
      if (gone) return;
      gone = document.createElement("p");
      gone.className = "wrong";
      gone.setAttribute("role", "alert");
      gone.textContent = "The server does not answer. What is below was so before; this page tries again by itself.";
      parts().before(gone);
    };
    news.onopen = () => {
      if (gone || isStale) changed();
      isStale = false;
      gone?.remove();
      gone = null;
    };
    return news;
  });
}

if (lines) {
  const address = new URL(lines.dataset.lines, location.href);
  let isOver = false;
  whileVisible(() => {
    if (isOver) return null;
    const said = new EventSource(address);
    said.addEventListener("line", (event) => {
      address.searchParams.set("from", event.lastEventId);
      lines.append(JSON.parse(event.data) + "\n");
      lines.parentElement.scrollTop = lines.parentElement.scrollHeight;
    });
    said.addEventListener("said", (event) => { document.querySelector("#said").textContent = JSON.parse(event.data); });
    said.addEventListener("over", () => {
      isOver = true;
      said.close();
      document.querySelector("#stop")?.remove();
    });
    said.onerror = () => {
      if (said.readyState === EventSource.CLOSED) location.reload(); // refused: the server has started again
      else document.querySelector("#said").textContent = "the server does not answer; this page tries again";
    };
    return said;
  });
}
