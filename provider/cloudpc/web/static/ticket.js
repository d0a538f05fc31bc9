// What a desktop's next connection has to have. Throws an Error with words for whoever wanted the desktop.
export async function ticket(at, csrf) {
  const answer = await fetch(`${at}/ticket`, { method: "POST", body: new URLSearchParams({ csrf }) });
  if (answer.status === 401 || answer.status === 403) throw new Error("You are no longer signed in: sign in, and load this page again.");
  if (answer.status === 404) throw new Error("There is no such Cloud PC of yours, or no longer.");
  if (!answer.ok && answer.status !== 409) throw new Error(`The server can't open a desktop now (${answer.status}): try again in a minute.`); // in HTML, not for here
  const given = await answer.json();
  if (!given.ticket) throw new Error(given.why);
  return given.ticket;
}
