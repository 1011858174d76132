// The list of categories: numbered, filtered, pointed at.

const fold = (text) => text.normalize("NFKC").toLocaleLowerCase();

export class Choices {
  constructor(root, filter, { numbered, onChoose, onLeave }) {
    this.root = root;
    this.filter = filter;
    this.numbered = numbered;
    this.all = [...root.querySelectorAll(".choice")];
    this.pointed = null;
    root.addEventListener("click", (event) => {
      const choice = event.target.closest(".choice");
      if (choice) onChoose(choice.dataset.key);
    });
    for (const kind of ["focusin", "pointerover"]) {
      root.addEventListener(kind, (event) => (this.pointed = event.target.closest(".choice") ?? this.pointed));
    }
    filter?.addEventListener("input", () => this.narrow(filter.value));
    filter?.addEventListener("keydown", (event) => this.#inFilter(event, onChoose, onLeave));
  }

  get visible() {
    return this.all.filter((choice) => !choice.parentElement.hidden);
  }

  named(key) {
    return this.all.find((choice) => choice.dataset.key === key);
  }

  nameOf(key) {
    return this.named(key)?.querySelector(".name").textContent ?? key;
  }

  /** Show those whose name holds `text`, and number them anew. */
  narrow(text) {
    const wanted = fold(text.trim());
    for (const choice of this.all) {
      const hit = !wanted || fold(choice.textContent).includes(wanted) || fold(choice.dataset.key).includes(wanted);
      choice.parentElement.hidden = !hit;
    }
    this.#number();
    this.onNarrow?.(text.trim(), this.visible.length);
  }

  /** A new item: nothing is filtered, pointed at or marked; `first` (keys) come first. */
  reset(first = []) {
    if (this.filter) this.filter.value = "";
    this.pointed = null;
    for (const choice of this.all) {
      choice.classList.remove("suggested", "was", "chosen");
      choice.querySelector(".said").hidden = true;
      choice.parentElement.hidden = false;
    }
    const rank = (choice) => (first.includes(choice.dataset.key) ? first.indexOf(choice.dataset.key) : first.length);
    if (first.length || this.moved) {
      this.moved = first.length > 0;
      this.original ??= [...this.all];
      this.all = [...this.original].sort((a, b) => rank(a) - rank(b));
      this.root.append(...this.all.map((choice) => choice.parentElement));
    }
    this.#number();
    this.onNarrow?.("", this.all.length);
  }

  mark(key, kind, said = "") {
    const choice = this.named(key);
    if (!choice) return;
    choice.classList.add(kind);
    if (!said) return;
    choice.querySelector(".said").textContent = said;
    choice.querySelector(".said").hidden = false;
  }

  /** Move the focus among the visible ones; from outside, to the first or last. */
  step(by) {
    const list = this.visible;
    const at = list.indexOf(document.activeElement);
    list[at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(Math.max(at + by, 0), list.length - 1)]?.focus();
  }

  #number() {
    this.visible.forEach((choice, i) => (choice.querySelector("kbd").textContent = this.numbered && i < 9 ? i + 1 : ""));
    for (const choice of this.all) if (choice.parentElement.hidden) choice.querySelector("kbd").textContent = "";
  }

  #inFilter(event, onChoose, onLeave) {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && this.filter.value.trim() && this.visible[0]) onChoose(this.visible[0].dataset.key);
    else if (event.key === "Escape") {
      this.filter.value = "";
      this.narrow("");
      onLeave();
    } else if (event.key === "ArrowDown") this.step(1);
    else return;
    event.preventDefault();
  }
}
