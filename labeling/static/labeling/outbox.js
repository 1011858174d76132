// Answers on their way to the server. Each is written to this device before anything else happens, sent in order, and removed
// only when the server has it: a closed tab, a lost connection or a signed-out session delays an answer and never loses it.
// Sending twice is harmless: the server knows the lease token.

import { Offline, post, Refused } from "../enso/net.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15000];

export class Outbox {
  /** `on` is {change(), sent(entry, result), refused(entry, error)}. */
  constructor(name, on) {
    this.prefix = `enso.outbox.${name}.`;
    this.on = on;
    this.failures = 0;
    this.state = "idle";
    this.sending = null;
    this.counter = 0;
    this.timer = 0;
    window.addEventListener("online", () => this.drain());
    document.addEventListener("visibilitychange", () => document.hidden || this.drain());
  }

  entries() {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(this.prefix))
      .sort()
      .map((key) => ({ id: key, ...JSON.parse(localStorage.getItem(key)) }));
  }

  /** Keep an answer on this device and start sending. Returns its entry. */
  add(entry) {
    const id = `${this.prefix}${Date.now().toString(36).padStart(9, "0")}.${String(this.counter++).padStart(4, "0")}`;
    localStorage.setItem(id, JSON.stringify(entry));
    const kept = { id, ...entry };
    this.drain();
    return kept;
  }

  /** Take an answer back that has not been sent yet; false when it is too late for that. */
  withdraw(id) {
    if (this.sending === id || localStorage.getItem(id) === null) return false;
    localStorage.removeItem(id);
    this.on.change();
    return true;
  }

  stateOf(id) {
    if (localStorage.getItem(id) === null) return "saved";
    return this.state === "offline" || this.state === "signed-out" ? "kept" : "saving";
  }

  /** Send what waits, oldest first; one tab of a person at a time where the browser can arrange that. */
  async drain() {
    clearTimeout(this.timer);
    if (this.draining) return this.draining;
    this.draining = navigator.locks ? navigator.locks.request(this.prefix, () => this.#sendAll()) : this.#sendAll();
    try {
      await this.draining;
    } finally {
      this.draining = null;
    }
    if (this.entries().length) this.timer = setTimeout(() => this.drain(), RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)]);
  }

  async #sendAll() {
    for (let entry = this.entries()[0]; entry; entry = this.entries()[0]) {
      if (!(await this.#send(entry))) return;
    }
    this.#become("idle");
  }

  async #send(entry) {
    this.sending = entry.id;
    if (this.state === "idle") this.#become("sending");
    try {
      const result = await post(entry.path, entry.body);
      this.failures = 0;
      this.#done(entry);
      this.state = "sending";
      this.on.sent(entry, result);
    } catch (error) {
      return this.#failed(entry, error);
    } finally {
      this.sending = null;
    }
    return true;
  }

  #failed(entry, error) {
    if (error instanceof Refused && error.kind !== "not-authenticated" && error.kind !== "permission-denied" && error.status !== 401) {
      this.#done(entry);
      this.on.refused(entry, error);
      return true;
    }
    if (!(error instanceof Offline) && !(error instanceof Refused)) throw error;
    this.failures += 1;
    this.#become(error instanceof Offline ? "offline" : "signed-out");
    return false;
  }

  #done(entry) {
    localStorage.removeItem(entry.id);
    this.on.change();
  }

  #become(state) {
    this.state = state;
    this.on.change();
  }
}
