// The command bar: what can be done now, found by typing. Its entries are the page's own controls (`data-command`), so that
// only what is legal is listed, and choosing one does exactly what the control does.

const dialog = document.getElementById("commands");
const field = document.getElementById("command-text");
const list = document.getElementById("command-list");
const count = document.getElementById("command-count");
let entries = [];
let at = 0;

const plain = (text) => text.normalize("NFKD").toLocaleLowerCase();

/** A control counts while it is there: a closed menu's items too, a hidden or disabled one's not. */
function possible() {
  const all = [...document.querySelectorAll("[data-command]")].filter((e) => !e.disabled && !e.closest("[hidden]"));
  return all.map((element) => ({ element, label: element.dataset.command, key: plain(element.dataset.command) }));
}

function draw(words) {
  const wanted = plain(field.value).split(/\s+/).filter(Boolean);
  const found = entries.filter((e) => wanted.every((w) => e.key.includes(w)));
  at = Math.min(at, Math.max(found.length - 1, 0));
  list.replaceChildren(
    ...found.map((entry, i) => {
      const item = document.createElement("li");
      item.id = `command-${i}`;
      item.setAttribute("role", "option");
      item.setAttribute("aria-selected", String(i === at));
      item.textContent = entry.label;
      item.addEventListener("click", () => run(entry));
      return item;
    }),
  );
  if (found.length) field.setAttribute("aria-activedescendant", `command-${at}`);
  else field.removeAttribute("aria-activedescendant");
  list.children[at]?.scrollIntoView({ block: "nearest" });
  count.textContent = found.length ? words("commands", { n: found.length }) : words("no_command");
  return found;
}

function run(entry) {
  dialog.close();
  entry.element.click();
}

export function commandBar(words) {
  const open = () => {
    entries = possible();
    field.value = "";
    at = 0;
    dialog.showModal();
    draw(words);
    field.focus();
  };
  field.addEventListener("input", () => {
    at = 0;
    draw(words);
  });
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      at = (at + step + list.children.length) % Math.max(list.children.length, 1);
      draw(words);
    } else if (event.key === "Enter") {
      const found = draw(words);
      if (found[at]) run(found[at]);
    } else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.altKey || event.shiftKey || !(event.ctrlKey || event.metaKey)) return;
    if (event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else if (!document.querySelector("dialog[open]")) open();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest('[data-open="commands"]')) open();
  });
}
