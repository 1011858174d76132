// The rail: the person's own day, what is on its way, the last answers, the guideline.

const $ = (id) => document.getElementById(id);
const SHOWN = 10;
const REFRESH_MS = 30_000;

export class Rail {
  constructor(data, t, nameOf, onUndo) {
    this.data = data;
    this.t = t;
    this.nameOf = nameOf;
    this.rows = [];
    this.figures = { today: null, waiting: null, median_seconds: null };
    $("recent").addEventListener("dblclick", (event) => {
      const row = event.target.closest("[data-task]");
      if (row) onUndo(Number(row.dataset.task));
    });
    setInterval(() => document.hidden || this.load(), REFRESH_MS);
  }

  async load() {
    const query = new URLSearchParams({ project: this.data.project, role: this.data.role });
    const response = await fetch(`${this.data.api}queue/status?${query}`, { credentials: "same-origin" }).catch(() => null);
    if (!response?.ok) return;
    const got = await response.json();
    this.figures = got;
    if (!this.rows.length) this.rows = got.recent.map((r) => ({ ...r, kind: r.category ? "answer" : "none", state: r.extra ? "extra" : "saved" }));
    this.#draw();
  }

  add(entry) {
    this.note("");
    this.rows.unshift({ ...entry, state: "saving" });
    this.rows.length = Math.min(this.rows.length, SHOWN);
    if (entry.kind === "answer" && this.figures.today !== null) this.figures.today += 1;
    this.#draw();
  }

  remove(row) {
    this.rows = this.rows.filter((r) => r !== row);
    if (row.kind === "answer" && this.figures.today) this.figures.today -= 1;
    this.#draw();
  }

  /** The newest row that can be taken back, or the one on `task`. */
  undoable(task) {
    return this.rows.find((r) => !["escalate", "return"].includes(r.kind) && r.state !== "bad" && (task === null || r.task === task));
  }

  sent(entry, result) {
    const row = this.rows.find((r) => r.id === entry.id);
    if (row) row.state = result?.extra ? "extra" : "saved";
    if (result?.extra) this.note(this.t("extra"));
    if (entry.kind === "answer" && this.figures.waiting) this.figures.waiting -= 1;
    this.#draw();
  }

  refused(entry, error) {
    const row = this.rows.find((r) => r.id === entry.id);
    if (row) row.state = "bad";
    this.note(this.t("refused", { why: error.message }));
    this.#draw();
  }

  /** What is on its way, in one line. */
  saving(outbox) {
    const n = outbox.entries().length;
    for (const row of this.rows) if (row.id && ["saving", "kept"].includes(row.state)) row.state = outbox.stateOf(row.id);
    const kind = !n ? "saved" : outbox.state === "offline" || outbox.state === "signed-out" ? "kept" : "saving";
    const text = { saved: this.t("all_saved"), kept: this.t("kept_n", { n }), saving: this.t("saving_n", { n }) }[kind];
    this.#line(kind, outbox.state === "signed-out" ? this.t("signed_out") : text);
    this.#draw();
  }

  /** Something that the person should know; it stays until their next answer. */
  note(text) {
    $("notice").textContent = text;
  }

  guideline(category) {
    const part = $("guideline-part");
    const same = !part.hidden && part.dataset.key === (category?.key ?? "");
    part.hidden = same;
    if (same) return;
    part.dataset.key = category?.key ?? "";
    $("guideline-title").textContent = category?.name ?? "";
    const parts = category && [category.description, category.guideline, ...category.examples.map((e) => `– ${e}`)].filter(Boolean);
    const text = parts?.length ? parts.join("\n\n") : category ? this.t("no_guideline") : this.t("first_guideline");
    $("guideline").textContent = text;
    $("say").textContent = `${category?.name ?? ""} ${text}`;
  }

  hideGuideline() {
    $("guideline-part").hidden = true;
  }

  #line(kind, text) {
    const line = $("save-state");
    line.dataset.kind = kind;
    if (line.textContent !== text) line.textContent = text;
  }

  #draw() {
    const { today, waiting, median_seconds: median } = this.figures;
    $("today").textContent = today ?? "–";
    $("median").textContent = median === null ? "–" : this.t("seconds", { n: Math.round(median * 10) / 10 });
    $("waiting").textContent = waiting === null ? "–" : waiting.toLocaleString(this.data.language);
    $("recent").replaceChildren(...this.rows.map((row) => this.#row(row)));
  }

  #row(row) {
    const item = $("recent-template").content.cloneNode(true).firstElementChild;
    item.dataset.kind = row.state;
    item.dataset.task = row.task;
    item.querySelector(".recent-what").textContent = row.category ? this.nameOf(row.category) : this.t(row.kind);
    item.querySelector(".recent-text").textContent = row.text;
    const states = { saving: "saving", saved: "saved", kept: "kept" };
    item.querySelector(".recent-state").textContent = states[row.state] ? this.t(states[row.state]) : "";
    return item;
  }
}
