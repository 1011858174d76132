// The console's keys: move through the list, take, answer. Without this script the page works by links and forms alone.
import { listen } from "../enso/shortcuts.js";

const data = JSON.parse(document.getElementById("console-data").textContent);
const pane = document.getElementById("case");
const links = () => [...document.querySelectorAll(".row-link")];

function move(by) {
  const all = links();
  const at = all.findIndex((link) => link.hasAttribute("aria-current"));
  all[Math.min(Math.max(at + by, 0), all.length - 1)]?.click();
}

function mark() {
  const shown = pane.querySelector(".case")?.dataset.case;
  for (const link of links()) {
    if (link.dataset.case === shown) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  document.querySelector(".row-link[aria-current]")?.scrollIntoView({ block: "nearest" });
}

// A reply that is being written outlives a closed tab; it is dropped when it has been sent.
const draftKey = (form) => `enso.draft.${form.dataset.draft}`;
function restoreDraft() {
  const form = document.getElementById("reply-form");
  const box = form?.elements.reply;
  if (!box) return;
  if (!box.value) box.value = localStorage.getItem(draftKey(form)) ?? "";
  box.addEventListener("input", () => localStorage.setItem(draftKey(form), box.value));
  form.addEventListener("submit", () => localStorage.removeItem(draftKey(form)));
}

document.body.addEventListener("htmx:afterSwap", (event) => {
  if (event.target !== pane) return;
  mark();
  restoreDraft();
  pane.querySelector("h2")?.focus({ preventScroll: true });
});
document.body.addEventListener("htmx:responseError", () => location.reload());
document.addEventListener("click", (event) => {
  const macro = event.target.closest(".macro");
  if (!macro) return;
  const { reply, category } = document.getElementById("reply-form").elements;
  reply.value = reply.value ? `${reply.value.trimEnd()}\n\n${macro.dataset.macro}` : macro.dataset.macro;
  category.value ||= macro.dataset.category;
  macro.closest("details").open = false;
  reply.dispatchEvent(new Event("input"));
  reply.focus();
});
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("#reply-form");
  if (!writing || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) writing.requestSubmit();
  if (event.key === "Escape") pane.querySelector("h2").focus();
});
listen(data.shortcuts, {
  next_case: () => move(1),
  previous_case: () => move(-1),
  assign: () => pane.querySelector('[data-act="assign"]')?.click(),
  resolve: () => document.getElementById("reply-form")?.elements.category.focus(),
  overlay: () => document.getElementById("overlay").showModal(),
});
restoreDraft();
document.querySelector(".fault")?.closest(".field").querySelector("input, select, textarea")?.focus();
