// Two replies side by side: one decision, and the next pair comes with the answer's receipt.

import { Offline, post, Refused } from "../enso/net.js";
import { listen } from "../enso/shortcuts.js";
import { LeaseClock } from "./lease.js";
import { Outbox } from "./outbox.js";
import { takeOver } from "./tab.js";
import { ago, clock, languageName, speaker } from "./words.js";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("desk-data").textContent);
const t = speaker(data.words);
const SKELETON_AFTER_MS = 300;
const LOOK_AGAIN_MS = 10_000;

class Pairs {
  constructor() {
    this.root = $("desk");
    this.current = null;
    this.last = null;
    this.lease = new LeaseClock(data.api, {
      tick: (left) => this.#tick(left),
      lost: () => this.note(t("lost")),
      renewed: (until) => this.current && (this.current.knownUntil = until),
    }, "comparisons");
    this.outbox = new Outbox(`${data.user}.${data.project}.compare`, {
      change: () => this.#saving(),
      sent: (entry, result) => this.#sent(entry, result),
      refused: (entry, error) => this.#refused(error),
    });
  }

  async start() {
    this.#status();
    this.outbox.drain();
    await this.workHere(false);
    setInterval(() => !document.hidden && ["empty", "trouble"].includes(this.root.dataset.state) && this.advance(), LOOK_AGAIN_MS);
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.advance());
  }

  /** Work in this tab, unless another one does; with `steal` that one stops. */
  async workHere(steal) {
    const name = `enso.compare.${data.user}.${data.project}`;
    if (await takeOver(name, { steal, onLost: () => this.#elsewhere() })) await this.advance();
    else this.#elsewhere();
  }

  #elsewhere() {
    this.current = null;
    this.lease.drop();
    this.#state("elsewhere");
    $("elsewhere-title").focus();
  }

  async advance() {
    const skeleton = setTimeout(() => this.#state("slow"), SKELETON_AFTER_MS);
    try {
      await this.outbox.drain();
      if (!this.current) this.#arrived(await post(`${data.api}comparisons/next`, { project: data.project }));
    } catch (error) {
      this.#trouble(error);
    } finally {
      clearTimeout(skeleton);
    }
  }

  #arrived(got) {
    if (got) return this.show(got);
    this.current = null;
    this.lease.drop();
    const entering = this.root.dataset.state !== "empty";
    this.#state("empty");
    if (entering) $("empty-title").focus();
  }

  show({ task, lease }, was = null) {
    this.current = { task, token: lease.token, knownUntil: lease.expires_at, shown: performance.now() };
    $("item-title").textContent = t("pair", { n: task.id });
    const facts = [t("received", { when: ago(task.received_at, data.language) }), task.channel, languageName(task.locale, data.language)];
    $("item-meta").textContent = facts.filter(Boolean).join(" · ");
    $("message").textContent = task.text;
    $("message").lang = task.locale || "";
    for (const side of ["a", "b"]) {
      $(`reply-${side}`).textContent = task[side].text;
      $(`reply-${side}`).lang = task[side].locale;
    }
    for (const button of this.root.querySelectorAll("[data-say]")) button.classList.toggle("was", button.dataset.say === was);
    this.lease.hold(task.id, lease.token, lease.expires_in);
    this.#state("working");
    window.scrollTo(0, 0);
    $("item-title").focus({ preventScroll: true });
  }

  answer(verdict) {
    const item = this.current;
    if (!item || this.root.dataset.state !== "working") return;
    const seconds = Math.min(86_400, Math.round((performance.now() - item.shown) / 100) / 10);
    const path = `${data.api}comparisons/${item.task.id}/verdict`;
    this.current = null;
    this.lease.drop();
    this.note("");
    this.last = { task: item.task.id, verdict };
    this.outbox.add({ path, body: { token: item.token, verdict, seconds }, task: item.task.id, verdict });
    const slow = setTimeout(() => !this.current && this.#state("slow"), SKELETON_AFTER_MS);
    this.outbox.drain().finally(() => {
      clearTimeout(slow);
      if (!this.current && this.outbox.entries().length) this.#trouble(new Offline("kept"));
    });
  }

  async undo() {
    const last = this.last;
    if (!last) return this.note(t("nothing_to_undo"));
    try {
      await this.outbox.drain();
      const held = this.current;
      // One pair at a time: what is in hand goes back first, and comes again.
      if (held) await post(`${data.api}comparisons/${held.task.id}/release`, { token: held.token });
      this.current = null;
      this.last = null;
      const { next } = await post(`${data.api}comparisons/${last.task}/undo`, {});
      this.#arrived(next);
      const back = next?.task.id === last.task;
      if (back) for (const button of this.root.querySelectorAll("[data-say]")) button.classList.toggle("was", button.dataset.say === last.verdict);
      this.say(t(back ? "undone" : "undone_later"));
      this.#status();
    } catch (error) {
      if (!(error instanceof Offline || error instanceof Refused)) throw error;
      this.note(error instanceof Offline ? t("offline_empty") : error.message);
    }
  }

  async keep() {
    const left = await this.lease.keep();
    if (left) this.say(t("kept_longer", { time: clock(left) }));
  }

  #sent(entry, result) {
    if (result.extra) this.note(t("extra"));
    this.#status();
    this.say(t(entry.verdict === "skip" ? "skipped" : "next"));
    if (!this.current && this.outbox.entries().length === 0) this.#arrived(result.next);
  }

  #refused(error) {
    this.note(t("refused", { why: error.message }));
    if (!this.current) setTimeout(() => this.advance());
  }

  #saving() {
    const waiting = this.outbox.entries().length;
    const kept = ["offline", "signed-out"].includes(this.outbox.state);
    $("save-state").dataset.kind = !waiting ? "saved" : kept ? "kept" : "saving";
    $("save-state").textContent = !waiting ? t("saved") : kept ? t("kept") : t("saving");
  }

  #leave() {
    const item = this.current;
    if (item) post(`${data.api}comparisons/${item.task.id}/release`, { token: item.token, known_until: item.knownUntil }, { keepalive: true }).catch(() => {});
    this.current = null;
  }

  #trouble(error) {
    const offline = error instanceof Offline;
    if (!offline && !(error instanceof Refused)) throw error;
    const signedOut = this.outbox.state === "signed-out" || (!offline && (error.status === 401 || error.status === 403));
    $("trouble-title").textContent = signedOut ? t("signed_out") : offline ? t(this.outbox.entries().length ? "kept" : "offline_empty") : error.message;
    $("sign-in-again").hidden = !signedOut;
    this.#state("trouble");
  }

  #tick(left) {
    $("clock").textContent = clock(left);
    $("clock").classList.toggle("short", left < 60);
    $("lease-meter").value = left;
  }

  async #status() {
    const answer = await fetch(`${data.api}comparisons/status?project=${data.project}`, { headers: { Accept: "application/json" } }).catch(() => null);
    if (!answer?.ok) return;
    const found = await answer.json();
    $("today").textContent = found.today;
    $("waiting").textContent = found.waiting;
  }

  #state(name) {
    this.root.dataset.state = name;
  }

  note(text) {
    $("notice").textContent = text;
  }

  say(text) {
    $("say").textContent = text;
  }
}

const pairs = new Pairs();
const actions = {
  side_a: () => pairs.answer("a"),
  side_b: () => pairs.answer("b"),
  tie: () => pairs.answer("tie"),
  neither: () => pairs.answer("neither"),
  skip_pair: () => pairs.answer("skip"),
  undo_pair: () => pairs.undo(),
  keep_pair: () => pairs.keep(),
  overlay: () => $("overlay").showModal(),
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do], [data-say]");
  if (!button) return;
  if (button.dataset.say) pairs.answer(button.dataset.say);
  else if (button.dataset.do === "look") pairs.advance();
  else if (button.dataset.do === "here") pairs.workHere(true);
  else actions[button.dataset.do]();
});
listen(data.shortcuts, actions);
pairs.start();
