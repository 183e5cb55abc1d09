const all = (query, at = document) => [...at.querySelectorAll(query)], root = document.documentElement;
const unzipped = query => { // what `zipped` made
  const bytes = Uint8Array.from(atob(all(query)[0].textContent), c => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
document.head.append(Object.assign(document.createElement("script"), { textContent: await unzipped("#plotly") }));
const plots = JSON.parse(await unzipped("#plots")), form = all("#filters")[0];
const off = { norm: new Set(), lr: new Set(), paper: false, seed: "all" };
const figures = all("figure[data-plot]").map(box => (
  { ...plots[box.dataset.plot], box, plot: all(".plot", box)[0], off: new Set(), near: false, stale: true }));

// Looks
const media = matchMedia("(prefers-color-scheme: dark)");
const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : media.matches;
const css = name => getComputedStyle(root).getPropertyValue(name).trim();
function shade(hex, alpha = 1) { // colours are made for white; on black the dark ones are made lighter
  const rgb = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  const more = dark() ? Math.max(0, 0.6 - (0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2]) / 255) : 0;
  return `rgba(${rgb.map(c => Math.round(c + (255 - c) * more))},${alpha})`;
}

// Data
function unpack(text) { // what `packed` made; null is a gap
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return Array.from(new Float32Array(bytes.buffer), v => Number.isFinite(v) ? v : null);
}
function column(figure, index) {
  figure.unpacked ??= [];
  return figure.unpacked[index] ??= unpack(figure.data[index]);
}

function chosen(figure, thing) {
  if (off.norm.has(thing.norm) || off.lr.has(thing.lr) || (thing.groups || []).some(g => figure.off.has(g) || (off.paper && g === "the paper"))) return false;
  if (thing.at && !thing.at[""]) return off.seed in thing.at;
  return thing.seed === undefined || (off.seed === "all" ? true : String(thing.seed) === off.seed);
}

function trace(figure, t) {
  const axis = t.panel ? t.panel + 1 : "", own = t.at[""] ? "" : off.seed;
  let [x, y, other] = t.at[own].map(index => column(figure, index));
  const plain = { xaxis: `x${axis}`, yaxis: `y${axis}`, showlegend: false, name: (t.name || "") + own };
  if (t.z) return { ...plain, type: "heatmap", x, y, z: t.z, text: t.words, hoverinfo: figure.panels[t.panel].bar ? "skip" : "text",
    colorscale: t.scale.map(([at, colour]) => [at, shade(colour)]), zmin: 0, zmax: 1, showscale: false };
  Object.assign(plain, { type: "scatter", x, y, hovertemplate: "%{fullData.name}<br>%{x:.6~g}: %{y:.4~g}<extra></extra>" });
  if (other) {
    const gaps = [-1, ...x.flatMap((v, i) => v === null || y[i] === null ? [i] : []), x.length], xs = [], ys = [];
    gaps.slice(1).forEach((end, i) => { // each stretch there and back
      const [a, b, c] = [x, y, other].map(part => part.slice(gaps[i] + 1, end));
      if (a.length) { xs.push(...a, ...a.reverse(), null); ys.push(...b, ...c.reverse(), null); }
    });
    return { ...plain, x: xs, y: ys, mode: "lines", fill: "toself", fillcolor: shade(t.colour, t.alpha), hoveron: "points",
      line: { width: t.width || 0, color: shade(t.edge || t.colour) }, hoverinfo: t.edge ? undefined : "skip",
      hovertemplate: t.edge ? plain.hovertemplate : undefined };
  }
  return { ...plain, opacity: t.alpha ?? 1, cliponaxis: !t.symbol, mode: [t.width && "lines", t.symbol && "markers"].filter(Boolean).join("+") || "markers",
    line: { color: shade(t.colour), width: t.width || 1, dash: t.dash || "solid" },
    marker: { color: shade(t.colour), size: 6, symbol: t.symbol || "circle", line: { color: shade(t.colour), width: 1 } } };
}

function layout(figure) {
  const width = figure.plot.clientWidth, narrow = width < 640, size = Math.max(10, Math.min(13, width / 80));
  const made = { width, margin: { l: 2, r: 2, t: 26, b: 2 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", uirevision: "zoom",
    font: { family: "system-ui, sans-serif", size, color: css("--ink") }, hovermode: "closest", dragmode: narrow ? false : "zoom", annotations: [],
    hoverlabel: { bgcolor: css("--soft"), font: { color: css("--ink") } }, modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--faint"), activecolor: css("--ink") } };
  const heights = figure.panels.map(p => p.bar ? 150 : 255), total = heights.reduce((a, b) => a + b, 0);
  const inner = narrow ? total : Math.round(width * figure.ratio);
  made.height = inner + 28; // the margins, with the modebar above
  const shared = {}, room = (a, text) => (a.shown ? 1.7 * size : 6) + (text ? 1.5 * size : 0);
  const wide = p => (p.y.shown ? 2.2 * size : 0) + room(p.y, p.y.label); // for the labels at the left, those below
  const edge = (at, of) => Math.max(0, ...figure.panels.filter(p => p.box[at] < 0.001).map(of));
  const gutter = edge(0, wide) / width, floor = edge(2, p => room(p.x, p.x.label)) / inner;
  let top = inner, label = "";
  const titles = {}; // by column: what has none of its own lies below what has it
  figure.panels.forEach((p, i) => {
    const n = i ? i + 1 : "", [left, , low] = p.box; // of its cell
    let across = [left && !p.bar ? wide(p) / width : 0, -(p.bar ? wide(p) + 14 : 8) / width].map((more, k) => gutter + p.box[k] * (1 - gutter) + more);
    let up = [low ? room(p.x, p.x.label) / inner : 0, -(p.title ? 1.8 * size : 6) / inner].map((more, k) => floor + p.box[2 + k] * (1 - floor) + more);
    if (p.bar) across[1] = Math.min(across[1], across[0] + 18 / width);
    if (narrow) {
      top -= heights[i];
      across = p.bar ? [0.17, 0.24] : [0.17, 0.98];
      up = [(top + 46) / inner, (top + heights[i] - 24) / inner];
    }
    titles[left] = p.title || titles[left] || "";
    if (p.y.label || !p.steps) label = p.y.label;
    const look = { gridcolor: shade("#dddddd", dark() ? 0.15 : 1), linecolor: css("--line"), showline: true, mirror: true, zeroline: false, ticks: "outside",
      ticklen: 3, separatethousands: true, tickfont: { size: size - 1 } };
    const step = (a, pixels) => { // of a log axis: whole decades where there is one, else 2 and 5
      const decades = Math.abs(a.range[1] - a.range[0]), most = Math.max(1, pixels / 28);
      return a.log && !a.at ? { dtick: decades < 1 ? (pixels < 120 ? "D2" : "D1") : Math.max(1, Math.ceil(decades / most)) } : {};
    };
    const axis = (a, domain, anchor, pixels, text) => ({ ...look, ...step(a, pixels), domain, anchor, type: a.log ? "log" : "linear", exponentformat: a.log ? "power" : "none", range: a.range,
      nticks: Math.max(3, Math.round(pixels / 45)), showticklabels: a.shown || narrow, side: a.right ? "right" : undefined,
      title: { text, standoff: 4, font: { size } }, ...(a.at ? { tickmode: "array", tickvals: a.at, ticktext: a.words } : {}), showgrid: !p.bar });
    made[`xaxis${n}`] = axis(p.x, across, `y${n}`, (across[1] - across[0]) * width / 1.3, p.x.label || (narrow && p.steps ? "steps" : ""));
    made[`yaxis${n}`] = axis(p.y, up, `x${n}`, (up[1] - up[0]) * inner, narrow ? label : p.y.label);
    if (p.bar) Object.assign(made[`xaxis${n}`], { showticklabels: false, ticks: "" });
    if (p.steps) {
      const same = p.x.range.join(), first = shared[same];
      if (first === undefined) shared[same] = `x${n}`; else made[`xaxis${n}`].matches = first;
    }
    made.annotations.push({ xref: `x${n} domain`, yref: `y${n} domain`, x: 0, y: 1, xanchor: "left", yanchor: "bottom", text: narrow ? titles[left] : p.title, showarrow: false, font: { size } });
    for (const note of p.notes.filter(it => chosen(figure, it))) {
      made.annotations.push({ xref: `x${n}`, yref: `y${n}`, x: p.x.log ? Math.log10(note.x) : note.x, y: p.y.log ? Math.log10(note.y) : note.y,
        text: note.text, showarrow: false, xanchor: note.ha, yanchor: { top: "top", center: "middle" }[note.va] || "bottom",
        font: { size: size - 2, color: shade(note.colour) } });
    }
  });
  return made;
}

function draw(figure) {
  const traces = figure.traces.filter(t => chosen(figure, t)), ours = traces.filter(t => t.norm !== undefined || t.z);
  const deaf = [["norm", off.norm.size], ["learning rate", off.lr.size], ["seed", off.seed !== "all"]].filter(([name, on]) => on &&
    !figure.traces.some(t => name === "seed" ? t.seed !== undefined || !t.at[""] : t[name === "norm" ? "norm" : "lr"] !== undefined)).map(([name]) => name);
  Plotly.react(figure.plot, traces.map(t => trace(figure, t)), layout(figure), { displaylogo: false, scrollZoom: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]], displayModeBar: figure.plot.clientWidth < 640 ? true : "hover" });
  all("line[data-colour]", figure.box).forEach(line => line.setAttribute("stroke", shade(line.dataset.colour)));
  all(".note", figure.box)[0].textContent = !ours.length && figure.traces.some(t => t.norm !== undefined) ? "Nothing of this figure is chosen above."
    : deaf.length ? `The choice of ${deaf.join(" and ")} does not change this figure, which is of all.` : "";
  figure.box.dataset.shown = traces.length;
  figure.stale = false;
}
function redraw() {
  figures.forEach(figure => { figure.stale = true; });
  figures.filter(figure => figure.near).forEach(draw);
}

// Filters; in the address too, as in #norm=bn,l1&seed=3
function read() {
  for (const key of ["norm", "lr"]) off[key] = new Set(all(`[name=${key}]:not(:checked)`, form).map(box => box.value));
  off.paper = !form.elements.paper.checked;
  off.seed = form.elements.seed.value;
  const rows = all("#runs tbody tr");
  rows.forEach(({ dataset, ...rest }, i) => { rows[i].hidden = off.norm.has(rows[i].dataset.norm) || off.lr.has(rows[i].dataset.lr) || (off.seed !== "all" && rows[i].dataset.seed !== off.seed); });
  all("#count")[0].textContent = rows.filter(row => !row.hidden).length;
  redraw();
}
function fromAddress() {
  if (!location.hash.includes("=")) return;
  const wanted = new URLSearchParams(location.hash.slice(1));
  for (const key of ["norm", "lr"]) if (wanted.has(key)) all(`[name=${key}]`, form).forEach(box => { box.checked = wanted.get(key).split(",").includes(box.value); });
  if (wanted.has("seed")) form.elements.seed.value = wanted.get("seed");
  if (!form.elements.seed.value) form.elements.seed.value = "all";
  if (wanted.has("paper")) form.elements.paper.checked = wanted.get("paper") !== "0";
}
function toAddress() {
  const parts = ["norm", "lr"].filter(key => off[key].size).map(key => `${key}=${all(`[name=${key}]:checked`, form).map(box => encodeURIComponent(box.value)).join(",")}`);
  if (off.seed !== "all") parts.push(`seed=${off.seed}`);
  if (off.paper) parts.push("paper=0");
  try { history.replaceState(null, "", `#${parts.join("&")}`); } catch { /* some browsers refuse for files */ }
}
form.addEventListener("change", () => { read(); toAddress(); });
form.addEventListener("reset", () => setTimeout(() => { figures.forEach(figure => figure.off.clear()); all(".legend button").forEach(b => b.setAttribute("aria-pressed", "true")); read(); toAddress(); }));
form.addEventListener("submit", event => event.preventDefault());
addEventListener("hashchange", () => { if (location.hash.includes("=")) { fromAddress(); read(); } });

// Figures are drawn when they come near the window
const watcher = new IntersectionObserver(entries => entries.forEach(entry => {
  const figure = figures.find(it => it.box === entry.target);
  figure.near = entry.isIntersecting;
  if (figure.near && figure.stale) draw(figure);
}), { rootMargin: "400px" });
figures.forEach(figure => {
  watcher.observe(figure.box);
  all(".legend button", figure.box).forEach(button => button.addEventListener("click", () => {
    const group = button.dataset.group, hide = !figure.off.has(group);
    hide ? figure.off.add(group) : figure.off.delete(group);
    button.setAttribute("aria-pressed", String(!hide));
    draw(figure);
  }));
  figure.plot.addEventListener("keydown", event => {
    const factor = { "+": 0.7, "=": 0.7, "-": 1 / 0.7, "0": 0 }[event.key];
    if (factor === undefined || event.ctrlKey || event.metaKey) return;
    const ranges = {};
    figure.panels.forEach((p, i) => {
      const name = `xaxis${i ? i + 1 : ""}`, [a, b] = figure.plot.layout[name].range, middle = (a + b) / 2, half = (b - a) / 2 * factor;
      if (!p.bar) ranges[`${name}.range`] = factor ? [middle - half, middle + half] : p.x.range;
      if (!factor) ranges[`yaxis${i ? i + 1 : ""}.range`] = p.y.range;
    });
    Plotly.relayout(figure.plot, ranges);
    event.preventDefault();
  });
});
let wide = 0;
new ResizeObserver(([{ contentRect }]) => {
  if (wide && wide !== contentRect.width) redraw();
  wide = contentRect.width;
}).observe(all("main")[0]);
addEventListener("beforeprint", () => figures.filter(figure => figure.stale).forEach(draw));

// Theme and copying
let kept = null;
try { kept = localStorage.getItem("bnexp-theme"); } catch { /* no memory, then */ }
if (kept) root.dataset.theme = kept;
media.addEventListener("change", redraw);
all("#theme")[0].addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  try { localStorage.setItem("bnexp-theme", root.dataset.theme); } catch { /* likewise */ }
  redraw();
});
all("a[href^='#config-']").forEach(link => link.addEventListener("click", () => { all(link.hash)[0].open = true; }));
all(".copy").forEach(button => button.addEventListener("click", () => {
  getSelection().selectAllChildren(button.nextElementSibling);
  button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl-C";
}));
fromAddress();
read();
