// Figures that follow by themselves: asked for with the ETag of what is shown, so that an unchanged page costs one 304.
// What is open stays open, what has the focus keeps it; a hidden tab asks nothing.

for (const region of document.querySelectorAll("[data-poll]")) {
  const state = document.getElementById("poll-state");
  let etag = "";

  const open = () => [...region.querySelectorAll("details")].flatMap((d, i) => (d.open ? [i] : []));

  function replace(html) {
    const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = open();
    const scrolled = [...region.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
    if (region.contains(document.activeElement) && !focused) return false;
    region.innerHTML = html;
    region.querySelectorAll("details").forEach((d, i) => (d.open = opened.includes(i)));
    region.querySelectorAll(".scroll").forEach((e, i) => (e.scrollLeft = scrolled[i] ?? 0));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    return true;
  }

  function say(text) {
    if (state.textContent !== text) state.textContent = text;
  }

  async function look() {
    if (document.hidden) return;
    try {
      const response = await fetch(region.dataset.poll, { credentials: "same-origin", cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
      if (response.status !== 200 && response.status !== 304) throw new Error(String(response.status));
      if (response.status === 200 && !response.redirected && replace(await response.text())) etag = response.headers.get("ETag") ?? "";
      say(state.dataset.live);
    } catch {
      say(state.dataset.lost);
    }
  }

  setInterval(look, Number(region.dataset.every) * 1000);
  document.addEventListener("visibilitychange", look);
}
