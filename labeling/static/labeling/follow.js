// Regions that follow the server (`data-follow` names where, `data-every` how often, in seconds): asked for with the ETag of what is
// shown, so that an unchanged one costs a 304. Looked up anew each time, as actions replace them. A hidden tab asks nothing, and
// a region that has the focus keeps what it shows.

const known = new Map();

async function ask(region) {
  const url = region.dataset.follow;
  const before = known.get(url) ?? { etag: "" };
  known.set(url, { ...before, due: Date.now() + Number(region.dataset.every) * 1000 });
  try {
    const headers = region.dataset.filled === before.etag && before.etag ? { "If-None-Match": before.etag } : {};
    const response = await fetch(url, { credentials: "same-origin", cache: "no-store", headers });
    if (response.status !== 200 || response.redirected || !region.isConnected) return;
    const html = (await response.text()).trim();
    if (region.contains(document.activeElement)) return;
    region.innerHTML = html;
    region.dataset.filled = response.headers.get("ETag") ?? "";
    known.set(url, { ...known.get(url), etag: region.dataset.filled });
  } catch {
    // The connection is gone: what is shown stays until it is back.
  }
}

function look() {
  if (document.hidden) return;
  for (const region of document.querySelectorAll("[data-follow]")) {
    if ((known.get(region.dataset.follow)?.due ?? 0) <= Date.now() || !("filled" in region.dataset)) {
      region.dataset.filled ??= "";
      ask(region);
    }
  }
}

export function follow() {
  look();
  setInterval(look, 1_000);
  document.addEventListener("visibilitychange", look);
}

export { look };
