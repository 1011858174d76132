// Single-key shortcuts (WCAG 2.1.4): they can be switched off and remapped, and they are silent while a field, button, link or
// menu has the focus, while a dialog is open, with any modifier, and while an input method composes. An element marked
// `data-keys-pass` (a choice within the card) lets them through, except for the keys that press it.

const BUSY = "input, textarea, select, button, a[href], summary, [role=menu], [contenteditable=true]";

// A letter with Shift is a key of its own where it is bound; elsewhere it is the letter.
const shifted = (event, name) => (event.shiftKey && /^\p{L}$/u.test(name) ? `Shift+${name}` : name);
const normal = (key) => (key.length === 1 || key.startsWith("Shift+") ? key.replace(/.$/u, (last) => last.toLowerCase()) : key);

export function nameOf(event) {
  return event.key === " " ? "Space" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

/** The key as a person reads it on a key cap. */
export function capOf(key) {
  const arrows = { ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→" };
  if (key.startsWith("Shift+")) return `⇧${key.slice(6).toUpperCase()}`;
  return arrows[key] ?? (key.length === 1 ? key.toUpperCase() : key);
}

function silent(event, name) {
  if (event.defaultPrevented || event.isComposing || event.keyCode === 229) return true;
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return true;
  const busy = event.target instanceof Element ? event.target.closest(BUSY) : null;
  if (!busy) return false;
  return !busy.hasAttribute("data-keys-pass") || name === "Space" || name === "Enter";
}

/**
 * Listen for keys. `settings` is {on, keys: {action: key}}, `actions` maps an action to what it does, and `other(name, event)`
 * sees every key that is no action (digits, arrows); it returns true for a key that it used.
 */
export function listen(settings, actions, other = () => false) {
  const byKey = new Map(Object.entries(settings.keys).filter(([a]) => actions[a]).map(([a, key]) => [normal(key), a]));
  document.addEventListener("keydown", (event) => {
    const name = nameOf(event);
    if (silent(event, name)) return;
    if (!settings.on && (name.length === 1 || name === "Space")) return;
    const action = byKey.get(shifted(event, name)) ?? byKey.get(name);
    const used = action && !event.repeat ? (actions[action](), true) : !event.repeat && other(name, event);
    if (used) event.preventDefault();
  });
  document.documentElement.dataset.keys = "on";
}
