// Sentences come from the server in the language of the page; here their gaps are filled.

export function speaker(words) {
  return (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (gap, name) => values[name] ?? gap);
}

export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function ago(iso, language) {
  const seconds = (new Date(iso) - Date.now()) / 1000;
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return format.format(Math.round(seconds / size), unit);
  }
  return format.format(Math.round(seconds), "second");
}

export function languageName(code, language) {
  try {
    return code ? new Intl.DisplayNames([language], { type: "language" }).of(code) : "";
  } catch {
    return code;
  }
}
