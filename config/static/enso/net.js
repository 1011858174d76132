// Requests to our own JSON API. `Offline` means: nothing is known to have arrived, send it again.

export class Offline extends Error {}

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? String(status));
    this.status = status;
    this.kind = (problem.type ?? "").split(":").pop();
    this.id = problem.request_id ?? "";
  }
}

// The cookie changes with every sign-in: read it anew each time.
function csrf() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

export async function post(path, body, { keepalive = false, timeout = 10_000 } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "X-CSRFToken": csrf(), Accept: "application/json" },
      body: JSON.stringify(body),
      keepalive,
      signal: AbortSignal.timeout(timeout),
    });
  } catch (error) {
    throw new Offline(error.message);
  }
  return answered(response);
}

async function answered(response) {
  if (response.status >= 500 || response.status === 429) throw new Offline(String(response.status));
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}
