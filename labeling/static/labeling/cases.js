// The console's keys and comforts. Without this script the page works by links and forms alone; with it, htmx swaps the pane
// (moving through the list) or the whole console (after an action), and nothing else of the page.
import { listen } from "../enso/shortcuts.js";
import { commandBar } from "./commands.js";
import { follow, look } from "./follow.js";
import { speaker } from "./words.js";

const data = JSON.parse(document.getElementById("console-data").textContent);
const say = speaker(data.words);
const alertBox = document.getElementById("console-alert");
const $ = (selector) => document.querySelector(selector);
const pane = () => document.getElementById("case");
const replyForm = () => document.getElementById("reply-form");
const links = () => [...document.querySelectorAll(".row-link")];
// By the case itself, not by the mark in the list: a key may come after the swap and before the list is marked.
const isShown = (link) => link.dataset.case === pane().querySelector(".case")?.dataset.case;

function move(by) {
  const all = links();
  const at = all.findIndex(isShown);
  all[Math.min(Math.max(at + by, 0), all.length - 1)]?.click();
}

function mark() {
  for (const link of links()) {
    const current = isShown(link);
    link.toggleAttribute("aria-current", current);
    if (current) link.setAttribute("aria-current", "true");
    link.closest(".row").toggleAttribute("data-current", current);
  }
  $(".row-link[aria-current]")?.scrollIntoView({ block: "nearest" });
  document.getElementById("console").classList.toggle("has-case", Boolean(pane().querySelector(".case")));
}

// A reply that is being written outlives a closed tab; it is dropped when the server has taken it.
const draftKey = (id) => `enso.draft.${id}`;
let sending = "";
function restoreDraft() {
  const form = replyForm();
  const box = form?.elements.reply;
  if (!box) return;
  if (!box.value) box.value = localStorage.getItem(draftKey(form.dataset.draft)) ?? "";
  box.addEventListener("input", () => localStorage.setItem(draftKey(form.dataset.draft), box.value));
}
function dropSent() {
  if (!sending) return;
  const kept = document.getElementById("unsent") || (replyForm()?.dataset.draft === sending && pane().querySelector(".fault, [role=alert]"));
  if (!kept) localStorage.removeItem(draftKey(sending));
  sending = "";
}

/** What an agent must look at first: a fault, a warning, else the heading of the case. */
function focus() {
  const fault = pane().querySelector(".fault")?.closest(".field")?.querySelector("input, select, textarea");
  const first = fault ?? pane().querySelector("[data-first]") ?? pane().querySelector("#case-title");
  first?.focus({ preventScroll: !fault });
}

function arrived() {
  alertBox.hidden = true;
  dropSent();
  mark();
  restoreDraft();
  count();
  look();
}

document.body.addEventListener("htmx:afterSettle", (event) => {
  if (!["case", "console"].includes(event.target.id)) return;
  arrived();
  focus();
});
function warn(text) {
  alertBox.textContent = text;
  alertBox.hidden = false;
  sending = "";
}
document.body.addEventListener("htmx:sendError", (event) => {
  if (event.detail.requestConfig?.verb === "post") warn(say("offline"));
});
document.body.addEventListener("htmx:responseError", (event) => {
  if (event.detail.requestConfig?.verb === "post") warn(say("failed"));
});
document.addEventListener("submit", (event) => {
  if (event.target.id === "reply-form") sending = event.target.dataset.draft;
});

function insert(macro) {
  const { reply, category } = replyForm().elements;
  reply.value = reply.value ? `${reply.value.trimEnd()}\n\n${macro.dataset.macro}` : macro.dataset.macro;
  category.value ||= macro.dataset.category;
  const menu = macro.closest("details");
  if (menu) menu.open = false;
  reply.dispatchEvent(new Event("input"));
  const gap = reply.value.search(/\{[a-z][a-z0-9_]*\}/);
  reply.focus();
  // A gap that nothing filled is selected, to be written over.
  if (gap >= 0) reply.setSelectionRange(gap, reply.value.indexOf("}", gap) + 1);
}

function openMenu(name) {
  const menu = pane().querySelector(`details[data-act=${name}]`);
  if (!menu) return;
  menu.open = true;
  menu.querySelector(".row").focus();
}
document.addEventListener("keydown", (event) => {
  const row = event.target.closest?.(".sheet .row");
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!row || !step) return;
  const rows = [...row.closest(".sheet").querySelectorAll(".row")];
  rows[(rows.indexOf(row) + step + rows.length) % rows.length].focus();
  event.preventDefault();
});

function writeNote() {
  const fold = document.getElementById("note-fold");
  if (!fold) return;
  fold.open = true;
  document.getElementById("note-text").focus();
}

/** Send when nothing is missing, else go where something is. */
function resolve(then) {
  const form = replyForm();
  if (!form) return;
  const { category, reply, outcome } = form.elements;
  if (!reply.value.trim() && outcome.value === "answered") reply.focus();
  else if (!category.value) category.focus();
  else form.requestSubmit(form.querySelector(`button[value=${then}]`));
}

function count() {
  const chosen = document.querySelectorAll(".pick input:checked").length;
  const said = document.getElementById("chosen");
  if (said) said.textContent = chosen ? say("chosen", { n: chosen }) : "";
}

document.addEventListener("change", (event) => event.target.closest(".pick") && count());
document.addEventListener("click", (event) => {
  const macro = event.target.closest(".macro");
  if (macro) insert(macro);
  if (event.target.closest('[data-act="note"]')) writeNote();
});
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("#reply-form, #note-form");
  if (!writing || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) writing.requestSubmit(writing.querySelector("button:not([type])"));
  if (event.key === "Escape" && !event.target.closest("details[data-menu]")) pane().querySelector("#case-title").focus();
});

listen(data.shortcuts, {
  next_case: () => move(1),
  previous_case: () => move(-1),
  assign: () => pane().querySelector('[data-act="assign"]')?.click(),
  priority: () => openMenu("priority"),
  snooze: () => openMenu("snooze"),
  note: writeNote,
  resolve: () => resolve("stay"),
  resolve_next: () => resolve("next"),
  choose_case: () => links().find(isShown)?.closest(".row").querySelector(".pick input")?.click(),
  undo_batch: () => pane().querySelector('[data-act="undo"]')?.click(),
  overlay: () => document.getElementById("overlay").showModal(),
});
commandBar(say);
follow();
restoreDraft();
count();
if (pane().querySelector(".fault, [data-first]")) focus();
