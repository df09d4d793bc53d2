// Speaks to the fleet's part of the API. Reading asks for nothing; a command needs the signed-in session or a token.
const TOKEN = "hashwerk-fleet-token";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let shown = "";
try {
  shown = sessionStorage.getItem(TOKEN) ?? "";
} catch {
  // storage may be forbidden; the token is then asked for on every page
}

/** Keep the token that commands are given with, as long as this tab is open. */
export function showToken(text) {
  shown = text.trim();
  try {
    sessionStorage.setItem(TOKEN, shown);
  } catch {
    // kept by this page only
  }
}

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const detail = Array.isArray(body.detail) ? body.detail.map((item) => item.msg).join("; ") : body.detail;
  throw new Refused(response.status, detail ?? `the mine answers ${response.status}`);
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, { cache: "no-store", ...options });
  } catch {
    throw new Refused(0, "the mine does not answer; nothing is known to have been done");
  }
  return answer(response);
}

export const get = (path) => send(path, {});

/** Take something back that was given. */
export function remove(path) {
  return send(path, { method: "DELETE", headers: shown ? { authorization: `Bearer ${shown}` } : {} });
}

/** Give a command; it goes into the record under ``who``. */
export function post(path, body) {
  const headers = { "content-type": "application/json" };
  if (shown) headers.authorization = `Bearer ${shown}`;
  return send(path, { method: "POST", headers, body: JSON.stringify({ who: "page", ...body }) });
}
