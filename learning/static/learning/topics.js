// The map of topics. Dots are written into an image as pixels, one array for all of them, so that 50,000 cost a few
// milliseconds; names, rings and the lasso are drawn above. What a topic is comes from the table of the page, its equal.
// Teal is the topic that the model sees in the dots, violet what a person picked or named.

const stage = document.getElementById("map");
const card = document.getElementById("card");
const dots = document.getElementById("dots");
const names = document.getElementById("names");
const ink = dots.getContext("2d", { alpha: false });
const pen = names.getContext("2d");

const topics = [...document.querySelectorAll("#topics-table tbody tr")].map((row) => ({
  row, number: Number(row.dataset.number), x: Number(row.dataset.x), y: Number(row.dataset.y), slot: Number(row.dataset.slot),
  size: Number(row.dataset.size), named: "named" in row.dataset, fresh: "new" in row.dataset, muted: "muted" in row.dataset,
  title: row.querySelector("[data-cell=title]").textContent, href: row.querySelector("[data-cell=title]").getAttribute("href"),
}));
const byNumber = new Map(topics.map((t) => [t.number, t]));

let n = 0, first = 0, ids, xs, ys, of, picked;
let width = 0, height = 0, dense = 1, zoom = 1, middleX = 0.5, middleY = 0.5;
let image, pixels, selected = null, picks = 0, path = [], lassoing = false, due = false;

// ---- points -------------------------------------------------------------------------------------------------------

function read(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(0) !== 0x454e544d || view.getUint32(4, true) !== 1) throw new Error("an unknown format of points");
  n = view.getUint32(8, true);
  first = view.getFloat64(16, true);
  let at = 24;
  const column = (Type) => {
    const found = new Type(buffer, at, n);
    at += n * Type.BYTES_PER_ELEMENT;
    return found;
  };
  ids = column(Uint32Array);
  const x = column(Uint16Array), y = column(Uint16Array), numbers = column(Uint16Array);
  xs = Float32Array.from(x, (v) => v / 65535);
  ys = Float32Array.from(y, (v) => v / 65535);
  of = Int16Array.from(numbers, (v) => topics.indexOf(byNumber.get(v)));
  picked = new Uint8Array(n);
}

// ---- drawing ------------------------------------------------------------------------------------------------------

// Eight marks: four shapes in two tones. Small, they differ in weight; closer, in shape.
const SHAPES = [
  (x, y, r) => x * x + y * y <= r * r + 0.3,
  (x, y, r) => Math.abs(x) + Math.abs(y) <= r * 1.15,
  (x, y, r) => Math.abs(x) <= r * 0.82 && Math.abs(y) <= r * 0.82,
  (x, y, r) => y <= r * 0.8 && y >= -r && Math.abs(x) <= (y + r) * 0.62,
];

function stencils(radius) {
  const w = dots.width, reach = Math.ceil(radius);
  return SHAPES.map((inside) => {
    const offsets = [];
    for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) if (inside(x, y, radius)) offsets.push(y * w + x);
    return Int32Array.from(offsets);
  });
}

let colours;
function readColours() {
  const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(document.documentElement);
  // light-dark() is resolved by an element, not by the custom property.
  const swatch = document.createElement("i");
  stage.append(swatch);
  const rgb = (name) => {
    swatch.style.color = `var(--${name})`;
    probe.fillStyle = getComputedStyle(swatch).color;
    probe.fillRect(0, 0, 1, 1);
    return [...probe.getImageData(0, 0, 1, 1).data];
  };
  const word = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
  const mix = (a, b, share) => a.map((v, i) => Math.round(v * share + b[i] * (1 - share)));
  const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
  const paper = rgb("surface"), text = rgb("ink"), model = rgb("model"), person = rgb("person");
  colours = {
    paper: word(paper), tones: [word(mix(text, paper, 0.62)), word(mix(text, paper, 0.4))], faint: word(mix(text, paper, 0.17)),
    on: word(model), person: word(person), css: { paper: css(paper), text: css(text), model: css(model), person: css(person) },
    font: style.getPropertyValue("--sans") || "sans-serif",
  };
  swatch.remove();
}

function measure() {
  dense = Math.min(devicePixelRatio || 1, 2);
  width = stage.clientWidth;
  height = stage.clientHeight;
  for (const canvas of [dots, names]) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  image = ink.createImageData(dots.width, dots.height);
  pixels = new Uint32Array(image.data.buffer);
}

const side = () => Math.min(width, height) * 0.9 * zoom;
const toX = (x) => width / 2 + (x - middleX) * side() * stretch();
const toY = (y) => height / 2 - (y - middleY) * side();
// The map has no scale of its own: a wide stage is filled.
const stretch = () => Math.min(width / height, 1.6);

function drawDots() {
  const w = dots.width, h = dots.height, sx = side() * stretch() * dense, sy = side() * dense;
  const ox = (width * dense) / 2 - middleX * sx, oy = (height * dense) / 2 + middleY * sy;
  // Where there are very many, a dot is one pixel, and density is what the eye sees.
  const radius = Math.min(n > 20000 ? 0.25 + 0.35 * Math.sqrt(zoom) : 1 + Math.sqrt(zoom) * (n > 3000 ? 0.5 : 1.5), 5) * dense;
  const shapes = stencils(radius), edge = Math.ceil(radius) + 1;
  const on = selected ? topics.indexOf(selected) : -1;
  const some = on >= 0 || picks > 0;
  pixels.fill(colours.paper);
  for (let pass = 0; pass < (some ? 2 : 1); pass++) {
    for (let i = 0; i < n; i++) {
      const t = of[i], mine = picks ? picked[i] === 1 : t === on;
      if (some && mine !== (pass === 1)) continue;
      const px = (xs[i] * sx + ox) | 0, py = (oy - ys[i] * sy) | 0;
      if (px < edge || py < edge || px >= w - edge || py >= h - edge) continue;
      const topic = topics[t], slot = topic ? topic.slot : 0;
      const colour = pass ? (picks ? colours.person : colours.on) : some || !topic || topic.muted ? colours.faint : colours.tones[slot >> 2];
      const shape = shapes[slot & 3], at = py * w + px;
      for (let k = 0; k < shape.length; k++) pixels[at + shape[k]] = colour;
    }
  }
  ink.putImageData(image, 0, 0);
}

// Names, the largest topics first, where they do not cover each other.
function drawNames() {
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  const taken = [{ l: width - 230, r: width, t: 0, b: 58 }];
  const order = [...topics].sort((a, b) => (b === selected) - (a === selected) || b.fresh - a.fresh || b.size - a.size);
  for (const topic of order) {
    if (topic.muted && topic !== selected) continue;
    const strong = topic === selected;
    pen.font = `${strong || topic.named ? 600 : 500} ${strong ? 14 : 12}px ${colours.font}`;
    const text = (topic.fresh ? `${stage.dataset.new}: ` : "") + (topic.title.length > 34 ? `${topic.title.slice(0, 33)}…` : topic.title);
    const half = pen.measureText(text).width / 2, x = toX(topic.x), y = toY(topic.y);
    if (x + half < 0 || x - half > width || y < 0 || y > height) continue;
    const box = { l: x - half - 6, r: x + half + 6, t: y - 10, b: y + 10 };
    if (!strong && taken.some((o) => box.l < o.r && box.r > o.l && box.t < o.b && box.b > o.t)) continue;
    taken.push(box);
    // A plate of paper: a halo leaves dots between the letters, where they read as punctuation.
    pen.globalAlpha = 0.88;
    pen.fillStyle = colours.css.paper;
    pen.beginPath();
    pen.roundRect(x - half - 4, y - 9, 2 * half + 8, 18, 5);
    pen.fill();
    pen.globalAlpha = 1;
    pen.fillStyle = topic.named ? colours.css.person : strong ? colours.css.model : colours.css.text;
    pen.fillText(text, x, y);
    if (topic.fresh) {
      pen.strokeStyle = colours.css.model;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.ellipse(x, y, half + 12, 17, 0, 0, 2 * Math.PI);
      pen.stroke();
    }
  }
  if (path.length > 1) {
    pen.strokeStyle = colours.css.person;
    pen.lineWidth = 1.5;
    pen.setLineDash([5, 4]);
    pen.beginPath();
    path.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    if (!lassoing) pen.closePath();
    pen.stroke();
    pen.setLineDash([]);
  }
}

const spent = [];
function draw() {
  due = false;
  if (!n || !width) return;
  const begin = performance.now();
  drawDots();
  drawNames();
  spent.push(performance.now() - begin);
  if (spent.length > 60) spent.shift();
  const sorted = [...spent].sort((a, b) => a - b);
  stage.dataset.drawMs = sorted[sorted.length >> 1].toFixed(2); // the median of the last draws
  stage.dataset.draws = String(Number(stage.dataset.draws ?? 0) + 1);
}

function redraw() {
  if (!due) requestAnimationFrame(draw);
  due = true;
}

// ---- moving -------------------------------------------------------------------------------------------------------

function zoomBy(factor, x = width / 2, y = height / 2) {
  const before = [(x - width / 2) / (side() * stretch()) + middleX, (height / 2 - y) / side() + middleY];
  zoom = Math.min(Math.max(zoom * factor, 1), 60);
  middleX = before[0] - (x - width / 2) / (side() * stretch());
  middleY = before[1] - (height / 2 - y) / side();
  bound();
  redraw();
}

function bound() {
  middleX = Math.min(Math.max(middleX, 0), 1);
  middleY = Math.min(Math.max(middleY, 0), 1);
}

function all() {
  zoom = 1;
  middleX = middleY = 0.5;
  redraw();
}

function intoView(topic) {
  const x = toX(topic.x), y = toY(topic.y);
  if (x < 40 || x > width - 40 || y < 30 || y > height - 30) [middleX, middleY] = [topic.x, topic.y];
}

// ---- choosing -----------------------------------------------------------------------------------------------------

function show(kind) {
  for (const part of card.querySelectorAll("[data-when]")) part.hidden = part.dataset.when !== kind;
}

function fill(name, value) {
  const place = card.querySelector(`[data-fill=${name}]`);
  if (place) place.textContent = value;
  return place;
}

function choose(topic) {
  if (selected) delete selected.row.dataset.on;
  letGo(false);
  selected = topic;
  show(topic ? "topic" : "none");
  if (topic) {
    topic.row.dataset.on = "";
    const cell = (name) => topic.row.querySelector(`[data-cell=${name}]`)?.textContent.trim() ?? "";
    fill("title", topic.title).setAttribute("href", topic.href);
    for (const name of ["keywords", "size", "growth", "mood", "negative"]) fill(name, cell(name));
    fill("by", `#${topic.number}`).className = `tag ${topic.named ? "person" : "model"}`;
    fill("new", stage.dataset.new).hidden = !topic.fresh;
    const form = card.querySelector("form[data-action]");
    if (form) form.action = form.dataset.action.replace("/0/", `/${topic.number}/`);
    intoView(topic);
  }
  redraw();
}

function letGo(drawn = true) {
  if (picks) picked.fill(0);
  picks = 0;
  path = [];
  if (drawn) redraw();
}

// The nearest dot within reach of the pointer.
function dotAt(x, y) {
  let best = -1, reach = 14 * 14;
  for (let i = 0; i < n; i++) {
    const dx = toX(xs[i]) - x, dy = toY(ys[i]) - y, gap = dx * dx + dy * dy;
    if (gap < reach) [best, reach] = [i, gap];
  }
  return best;
}

// Even-odd rule, in the coordinates of the screen.
function within(x, y) {
  let inside = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) {
    const [ax, ay] = path[i], [bx, by] = path[j];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

function pick() {
  const chosen = [], counts = new Map();
  for (let i = 0; i < n; i++) {
    if (!within(toX(xs[i]), toY(ys[i]))) continue;
    picked[i] = 1;
    chosen.push(first + ids[i]);
    counts.set(of[i], (counts.get(of[i]) ?? 0) + 1);
  }
  picks = chosen.length;
  if (!picks) return choose(null);
  show("lasso");
  fill("count", (picks === 1 ? stage.dataset.one : stage.dataset.many).replace("{n}", picks));
  const list = fill("shares", "");
  for (const [t, count] of [...counts].sort((a, b) => b[1] - a[1]).slice(0, 6)) {
    const line = document.createElement("li"), amount = document.createElement("span");
    line.append(topics[t]?.title ?? "–");
    amount.textContent = count;
    line.append(amount);
    list.append(line);
  }
  const field = card.querySelector("input[name=members]");
  if (field) field.value = chosen.slice(0, 5000).join(",");
  redraw();
}

function lasso(on) {
  stage.querySelector("[data-tool=lasso]").setAttribute("aria-pressed", String(on));
  names.toggleAttribute("data-lasso", on);
}

// ---- pointer ------------------------------------------------------------------------------------------------------

let grip = null;
const place = (event) => {
  const box = names.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

names.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const [x, y] = place(event);
  grip = { x, y, middleX, middleY, moved: false };
  lassoing = names.hasAttribute("data-lasso") || event.shiftKey;
  if (lassoing) {
    if (selected) choose(null);
    letGo(false);
    path = [[x, y]];
  }
  names.setPointerCapture(event.pointerId);
});

names.addEventListener("pointermove", (event) => {
  if (!grip) return;
  const [x, y] = place(event);
  if (Math.hypot(x - grip.x, y - grip.y) > 3) grip.moved = true;
  if (lassoing) path.push([x, y]);
  else {
    middleX = grip.middleX - (x - grip.x) / (side() * stretch());
    middleY = grip.middleY + (y - grip.y) / side();
    bound();
  }
  redraw();
});

names.addEventListener("pointerup", (event) => {
  if (!grip) return;
  const [x, y] = place(event), clicked = !grip.moved;
  grip = null;
  if (lassoing) {
    lassoing = false;
    lasso(false);
    return path.length > 2 ? pick() : letGo();
  }
  if (!clicked) return;
  const at = dotAt(x, y);
  choose(at < 0 ? null : topics[of[at]] ?? null);
});
names.addEventListener("pointercancel", () => {
  grip = null;
  lassoing = false;
});
names.addEventListener("dblclick", (event) => zoomBy(2, ...place(event)));
// A wheel scrolls the page; with Ctrl, or once the map has the focus, it zooms.
names.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && document.activeElement !== names) return;
  event.preventDefault();
  zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, ...place(event));
}, { passive: false });

// ---- keyboard -----------------------------------------------------------------------------------------------------

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// The topic that lies nearest in a direction: along it counts once, beside it twice.
function next([dx, dy]) {
  if (!selected) return [...topics].sort((a, b) => b.size - a.size)[0];
  let best = null, least = Infinity;
  for (const topic of topics) {
    const x = (topic.x - selected.x) * stretch(), y = topic.y - selected.y, along = x * dx + y * dy;
    const cost = along + 2 * Math.abs(x * dy - y * dx);
    if (topic !== selected && along > 1e-6 && cost < least) [best, least] = [topic, cost];
  }
  return best ?? selected;
}

names.addEventListener("keydown", (event) => {
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const way = WAYS[event.key];
  if (way) choose(next(way));
  else if (event.key === "+" || event.key === "=") zoomBy(1.5);
  else if (event.key === "-") zoomBy(1 / 1.5);
  else if (event.key === "0") all();
  else if (event.key === "Enter" && selected) location.assign(selected.href);
  else if (event.key === "Escape") choose(null);
  else return;
  event.preventDefault();
});

const TOOLS = { in: () => zoomBy(1.5), out: () => zoomBy(1 / 1.5), all, lasso: () => lasso(!names.hasAttribute("data-lasso")) };
for (const button of stage.querySelectorAll("[data-tool]")) button.addEventListener("click", () => TOOLS[button.dataset.tool]());

// ---- start --------------------------------------------------------------------------------------------------------

async function start() {
  readColours();
  measure();
  const response = await fetch(stage.dataset.points, { credentials: "same-origin" });
  if (!response.ok || response.redirected) throw new Error(String(response.status));
  read(await response.arrayBuffer());
  document.getElementById("map-wait").hidden = true;
  stage.dataset.count = String(n);
  draw();
}

new ResizeObserver(() => {
  if (!n) return;
  measure();
  draw();
}).observe(stage);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  redraw();
});
start().catch(() => {
  const wait = document.getElementById("map-wait");
  wait.hidden = false;
  stage.dataset.failed = "";
});
