// How long the item in hand is still ours. The lease is renewed while the person is active; an idle desk lets it run out, so
// that nobody waits for somebody who has left.

import { post, Refused } from "../enso/net.js";

const ACTIVE_FOR_MS = 60_000;
const LONGEST_BEAT_MS = 60_000;

export class LeaseClock {
  /** `on` is {tick(secondsLeft), lost(), renewed(expiresAt)}; `items` is what the API calls what is leased. */
  constructor(api, on, items = "tasks") {
    this.api = `${api}${items}/`;
    this.on = on;
    this.held = null;
    this.active = performance.now();
    for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
      document.addEventListener(kind, () => (this.active = performance.now()), { passive: true });
    }
    setInterval(() => this.#tick(), 1000);
  }

  hold(task, token, seconds) {
    const now = performance.now();
    this.held = { task, token, total: seconds, ends: now + seconds * 1000, beat: now, lost: false };
    this.on.tick(seconds);
  }

  /** The server has renewed the lease on `task`. */
  renewed(task, token, seconds) {
    if (this.held?.task === task) this.hold(task, token, seconds);
  }

  drop() {
    this.held = null;
  }

  /** Renew now; returns the seconds left, or null when the lease is lost. Offline leaves the clock running. */
  async keep() {
    const held = this.held;
    if (!held) return null;
    held.beat = performance.now();
    try {
      const { lease } = await post(`${this.api}${held.task}/heartbeat`, { token: held.token });
      if (this.held === held) this.on.renewed(lease.expires_at);
      this.renewed(held.task, held.token, lease.expires_in);
      return lease.expires_in;
    } catch (error) {
      if (error instanceof Refused && this.held === held) this.#lose(held);
      return null;
    }
  }

  #tick() {
    const held = this.held;
    if (!held || held.lost) return;
    const now = performance.now();
    const left = Math.max(0, Math.round((held.ends - now) / 1000));
    this.on.tick(left);
    if (left === 0) return this.#lose(held);
    const every = Math.min(LONGEST_BEAT_MS, (held.total * 1000) / 3);
    if (now - held.beat > every && now - this.active < ACTIVE_FOR_MS) this.keep();
  }

  #lose(held) {
    held.lost = true;
    this.on.tick(0);
    this.on.lost();
  }
}
