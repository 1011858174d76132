// The labeling desk: one item, one decision, and the next one is already here.

import { Offline, post, Refused } from "../enso/net.js";
import { listen } from "../enso/shortcuts.js";
import { Choices } from "./choices.js";
import { LeaseClock } from "./lease.js";
import { Outbox } from "./outbox.js";
import { Rail } from "./rail.js";
import { takeOver } from "./tab.js";
import { ago, clock, languageName, speaker } from "./words.js";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const $ = (id) => document.getElementById(id);
const data = read("desk-data");
const categories = new Map(read("categories-data").map((c) => [c.key, c]));
const t = speaker(data.words);
const SKELETON_AFTER_MS = 300;
const LOOK_AGAIN_MS = 10_000;

class Desk {
  constructor() {
    this.root = $("desk");
    this.current = null;
    this.upcoming = null;
    this.skipsInARow = 0;
    this.fetching = null;
    this.turn = 0;
    this.choices = new Choices($("choices"), $("filter"), {
      numbered: data.shortcuts.on,
      onChoose: (key) => this.choose(key),
      onLeave: () => $("item-title").focus(),
    });
    this.choices.onNarrow = (text, n) => {
      $("matches").textContent = !text ? "" : n ? t("matches", { n }) : t("no_match", { text });
    };
    this.lease = new LeaseClock(data.api, {
      tick: (left) => this.#tick(left),
      lost: () => this.#lost(),
      renewed: (until) => this.current && (this.current.knownUntil = until),
    });
    this.rail = new Rail(data, t, (key) => this.choices.nameOf(key), (task) => this.undo(task));
    this.outbox = new Outbox(`${data.user}.${data.project}`, {
      change: () => this.rail.saving(this.outbox),
      sent: (entry, result) => this.#sent(entry, result),
      refused: (entry, error) => this.rail.refused(entry, error),
    });
  }

  // ---- getting items ----

  /** The prefetched item. Whether there is one can be seen in the page. */
  get upcoming() {
    return this.waiting;
  }

  set upcoming(item) {
    this.waiting = item;
    this.root.dataset.next = item ? "here" : "none";
  }

  async start() {
    this.rail.load();
    this.outbox.drain();
    await this.workHere(false);
    setInterval(() => this.#lookAgain(), LOOK_AGAIN_MS);
    window.addEventListener("focus", () => this.#lookAgain());
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.advance());
  }

  /** Work in this tab, unless another one does; with `steal` that one stops. */
  async workHere(steal) {
    const name = `enso.desk.${data.user}.${data.project}.${data.role}`;
    if (await takeOver(name, { steal, onLost: () => this.#elsewhere() })) await this.advance();
    else this.#elsewhere();
  }

  #elsewhere() {
    // The other tab has our items now: they must not be given back.
    this.current = this.upcoming = null;
    this.lease.drop();
    this.#state("elsewhere");
    $("elsewhere-title").focus();
  }

  /** Put the next item in front of the person: at once where it is already here. */
  async advance() {
    const ready = this.upcoming;
    this.upcoming = null;
    if (ready && performance.now() < ready.until) return this.show(ready);
    this.current = null;
    this.lease.drop();
    const skeleton = setTimeout(() => this.#state("slow"), SKELETON_AFTER_MS);
    try {
      // What is still on its way decides what the server thinks we hold: let it arrive first.
      await this.outbox.drain();
      await this.fetching?.catch(() => {});
      this.#arrived(await this.#next(false));
    } catch (error) {
      this.#trouble(error);
    } finally {
      clearTimeout(skeleton);
    }
  }

  #arrived(item) {
    if (this.current) return;
    if (item) this.show(item);
    else this.#empty();
  }

  async #next(prefetch) {
    const got = await post(`${data.api}queue/next`, { project: data.project, role: data.role, prefetch });
    return got && this.#item(got);
  }

  #item({ task, lease }) {
    const until = performance.now() + lease.expires_in * 1000;
    return { task, token: lease.token, seconds: lease.expires_in, knownUntil: lease.expires_at, until, saw: false };
  }

  /** Fetch the item after this one. What comes back may be the one in hand, when the server has not yet heard that it is. */
  async prefetch() {
    if (this.fetching || this.upcoming || !this.current) return;
    const { turn } = this;
    this.fetching = this.#next(true);
    try {
      const item = await this.fetching;
      // An answer or an undo since then has changed what is in hand and what waits: this may be what was just answered.
      if (!item || turn !== this.turn) return;
      if (item.task.id !== this.current?.task.id) this.upcoming = item;
    } catch (error) {
      if (!(error instanceof Offline || error instanceof Refused)) throw error;
    } finally {
      this.fetching = null;
    }
  }

  async #lookAgain() {
    if (document.hidden) return;
    if (["empty", "trouble"].includes(this.root.dataset.state)) await this.advance();
    else if (!this.upcoming) await this.prefetch();
  }

  #leave() {
    for (const item of [this.current, this.upcoming]) {
      if (item) post(`${data.api}tasks/${item.task.id}/release`, { token: item.token, known_until: item.knownUntil }, { keepalive: true }).catch(() => {});
    }
    this.current = this.upcoming = null;
  }

  // ---- showing them ----

  show(item) {
    this.current = item;
    item.shown = performance.now();
    const { task } = item;
    $("item-title").textContent = t("item", { n: task.id });
    const facts = [t("received", { when: ago(task.received_at, data.language) }), task.channel, languageName(task.locale, data.language)];
    $("item-meta").textContent = facts.filter(Boolean).join(" · ");
    $("message").textContent = task.text;
    $("message").lang = task.locale || "";
    $("why").textContent = task.why;
    const answers = task.answers ?? [];
    this.choices.reset([...new Set(answers.map((a) => a.category))]);
    this.#answers(answers);
    if (item.was) this.choices.mark(item.was, "was");
    this.#flagShown();
    this.rail.hideGuideline();
    this.lease.hold(task.id, item.token, Math.max(1, Math.round((item.until - performance.now()) / 1000)));
    this.#state("working");
    window.scrollTo(0, 0);
    $("item-title").focus({ preventScroll: true });
    if (!this.outbox.entries().length) this.prefetch();
  }

  #answers(answers) {
    const list = $("answer-list");
    list?.replaceChildren(
      ...answers.map((a) => {
        const row = $("answer-template").content.cloneNode(true).firstElementChild;
        row.querySelector(".letter").textContent = a.letter;
        row.querySelector(".answer-name").textContent = this.choices.nameOf(a.category);
        const how = [a.saw_suggestion ? t("saw") : t("blind"), a.seconds === null ? "" : t("seconds", { n: Math.round(a.seconds) })];
        row.querySelector(".answer-how").textContent = how.filter(Boolean).join(" · ");
        return row;
      }),
    );
    for (const key of new Set(answers.map((a) => a.category))) {
      this.choices.mark(key, "answered", answers.filter((a) => a.category === key).map((a) => a.letter).join(" "));
    }
  }

  #state(name) {
    this.root.dataset.state = name;
  }

  #empty() {
    const entering = this.root.dataset.state !== "empty";
    this.#state("empty");
    if (entering) $("empty-title").focus();
  }

  #trouble(error) {
    const offline = error instanceof Offline;
    const signedOut = error instanceof Refused && (error.status === 401 || error.status === 403);
    if (!offline && !(error instanceof Refused)) throw error;
    $("trouble-title").textContent = offline ? t("offline_empty") : signedOut ? t("signed_out") : error.message;
    $("sign-in-again").hidden = !signedOut;
    this.#state("trouble");
  }

  #tick(left) {
    $("clock").textContent = clock(left);
    $("clock").classList.toggle("short", left < 60);
    $("lease-meter").value = left;
  }

  #lost() {
    $("why").textContent = t("lost");
    this.say(t("lost"));
  }

  say(text) {
    $("say").textContent = text;
  }

  // ---- deciding ----

  choose(category) {
    const item = this.current;
    if (!item) return;
    const began = performance.now();
    this.skipsInARow = 0;
    const seconds = Math.min(86_400, Math.round((began - item.shown) / 100) / 10);
    this.#keep(item, "annotations", { token: item.token, category, saw_suggestion: item.saw, seconds }, category);
    this.advance();
    afterPaint(() => performance.measure("enso:swap", { start: began, end: performance.now() }));
  }

  #keep(item, what, body, category, kind = "answer") {
    const { id, text } = item.task;
    const path = `${data.api}tasks/${id}/${what}`;
    this.turn += 1;
    this.current = null;
    const entry = this.outbox.add({ path, body, task: id, category, kind, role: data.role, text: text.slice(0, 80) });
    this.rail.add({ ...entry, item });
  }

  async skip(reason = "") {
    const item = this.current;
    if (!item) return;
    if (!reason && this.skipsInARow > 0) {
      reason = await ask($("skip-dialog"));
      if (!reason || this.current !== item) return;
    }
    this.skipsInARow += 1;
    this.#keep(item, "skip", { token: item.token, reason }, null, "skip");
    this.advance();
  }

  async escalate() {
    const item = this.current;
    if (!item) return;
    const detail = await ask($("escalate-dialog"));
    if (!detail || this.current !== item) return;
    this.#keep(item, "escalate", { token: item.token, detail }, null, "escalate");
    this.advance();
  }

  /** An expert finds that no category fits. */
  none() {
    const item = this.current;
    if (!item) return;
    const seconds = Math.min(86_400, Math.round((performance.now() - item.shown) / 100) / 10);
    this.#keep(item, "annotations", { token: item.token, category: null, saw_suggestion: item.saw, seconds }, null, "none");
    this.advance();
  }

  /** An expert amends a guideline and has the item answered anew. */
  async giveBack() {
    const item = this.current;
    const dialog = $("return-dialog");
    if (!item || !dialog) return;
    const [category, text] = [dialog.querySelector("select"), dialog.querySelector("textarea")];
    const fill = () => (text.value = categories.get(category.value)?.guideline ?? "");
    category.onchange = fill;
    fill();
    if (!(await ask(dialog)) || this.current !== item || !text.value.trim()) return;
    const guideline = text.value.trim();
    categories.get(category.value).guideline = guideline;
    this.#keep(item, "return", { token: item.token, category: category.value, guideline }, null, "return");
    this.advance();
  }

  async flag() {
    const item = this.current;
    if (!item) return;
    const on = !item.task.flagged;
    item.task.flagged = on;
    this.#flagShown();
    this.say(t(on ? "flagged" : "unflagged"));
    this.outbox.add({ path: `${data.api}tasks/${item.task.id}/flag`, body: { on }, task: item.task.id, kind: "flag" });
  }

  #flagShown() {
    this.root.querySelector('[data-do="flag"]').setAttribute("aria-pressed", String(Boolean(this.current?.task.flagged)));
  }

  suggest() {
    const item = this.current;
    if (!item) return;
    const key = item.task.suggestion;
    if (!key) return this.rail.note(t("no_suggestion"));
    item.saw = true;
    this.choices.mark(key, "suggested", t("suggested"));
    $("why").textContent = item.task.why_seen;
    this.say(t("suggestion", { name: this.choices.nameOf(key) }));
  }

  guideline() {
    const key = this.choices.pointed?.dataset.key ?? (this.current?.saw ? this.current.task.suggestion : null);
    this.rail.guideline(key ? categories.get(key) : null);
  }

  async keep() {
    const left = await this.lease.keep();
    if (left) this.say(t("kept_longer", { time: clock(left) }));
  }

  // ---- taking back ----

  /** The last answer, or the one on `task`. One that has not been sent yet never leaves this device. */
  async undo(task = null) {
    const row = this.rail.undoable(task);
    if (!row) return this.rail.note(t("nothing_to_undo"));
    if (row.item && this.outbox.withdraw(row.id)) return this.#back(row, { ...row.item, was: row.category });
    try {
      await this.outbox.drain();
      const got = await post(`${data.api}tasks/${row.task}/undo`, {});
      if (!got.lease) return this.rail.remove(row), this.rail.note(t("undo_gone"));
      this.#back(row, { ...this.#item(got), was: row.category });
    } catch (error) {
      if (error instanceof Offline) this.rail.note(t("undo_offline"));
      else if (error instanceof Refused) this.rail.note(error.message);
      else throw error;
    }
  }

  #back(row, item) {
    this.turn += 1;
    this.rail.remove(row);
    this.upcoming = this.current;
    this.show(item);
    this.say(t("undone"));
  }

  // ---- what the server answered ----

  #sent(entry, result) {
    this.rail.sent(entry, result);
    if (entry.kind === "flag") return;
    const next = result?.next;
    if (this.current && next?.task === this.current.task.id) {
      this.current.token = next.token;
      this.current.knownUntil = next.expires_at;
      this.lease.renewed(next.task, next.token, next.expires_in);
    } else if (this.current) this.#confirm();
    this.prefetch();
  }

  /** The item in front of us was only reserved, or has been lost: ask what is in hand. */
  async #confirm() {
    const { turn } = this;
    const item = await this.#next(false).catch(() => null);
    if (!item || !this.current || turn !== this.turn) return;
    if (item.task.id === this.current.task.id) {
      this.current.token = item.token;
      this.current.knownUntil = item.knownUntil;
      this.lease.renewed(item.task.id, item.token, item.seconds);
    } else this.upcoming = item;
  }
}

/** Open a dialog of reasons; resolves to the chosen one, or "" when it was left. Digits choose there too. */
function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const digits = (event) => {
      const button = dialog.querySelectorAll(".choice")[Number(event.key) - 1];
      const writing = event.target.closest("textarea, select");
      if (data.shortcuts.on && /^[1-9]$/.test(event.key) && !event.isComposing && button && !writing) button.click();
    };
    dialog.addEventListener("keydown", digits);
    dialog.addEventListener(
      "close",
      () => {
        dialog.removeEventListener("keydown", digits);
        $("item-title").focus({ preventScroll: true });
        resolve(dialog.returnValue === "cancel" ? "" : dialog.returnValue);
      },
      { once: true },
    );
  });
}

function afterPaint(done) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
}

const desk = new Desk();
const actions = {
  skip: () => desk.skip(),
  flag: () => desk.flag(),
  escalate: () => desk.escalate(),
  undo: () => desk.undo(),
  guideline: () => desk.guideline(),
  suggestion: () => desk.suggest(),
  none: () => desk.none(),
  return: () => desk.giveBack(),
  keep: () => desk.keep(),
  filter: () => $("filter")?.focus(),
  overlay: () => $("overlay").showModal(),
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  if (button.dataset.do === "look") desk.advance();
  else if (button.dataset.do === "here") desk.workHere(true);
  else actions[button.dataset.do]();
});
listen(data.shortcuts, actions, (name) => {
  if (/^[1-9]$/.test(name)) {
    const choice = desk.choices.visible[Number(name) - 1];
    if (choice && desk.current) desk.choose(choice.dataset.key);
    return Boolean(choice);
  }
  if (name === "ArrowDown" || name === "ArrowUp") {
    desk.choices.step(name === "ArrowDown" ? 1 : -1);
    return true;
  }
  return false;
});
desk.start();
