// SPDX-License-Identifier: Apache-2.0
// The page of `blendset report`: reads the JSON that data.py made, draws it, and answers clicks. It fetches nothing.

const AT_ONCE = 100; // views on a page, and lines in a block of pictures
const MOST_BINS = 24;
const IN_STRIP = 24;
const ENDS = 3; // views shown at each end of a figure
const KINDS = ["Picture", "Objects", "Depth", "Normals"];

const report = JSON.parse(byId("report").textContent);
const { views, figures, selection } = report;
const figureNamed = new Map(figures.map((figure) => [figure.name, figure]));
const state = { query: "", scene: "", subject: "", show: "all", sort: "", descending: false, ranges: new Map(), page: 0, kind: 0 };
let shown = views.map((_, index) => index);

function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes (an "on..." one is a listener) and children. */
function h(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "polyline", "circle", "line", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const percent = (share) => `${(100 * share).toFixed(share < 0.0995 && share > 0 ? 1 : 0)} %`;
const numeral = (value) =>
  value == null ? "–" : (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)))).replace("-", "−");

// --- pictures --------------------------------------------------------------------------------------------------------

const blocks = document.querySelectorAll("script.pictures");
const opened = new Map();

/** The pictures of a view, one per kind, as data URIs; undefined where there is none. A block is split when first used. */
function pictures(index) {
  const block = Math.floor(index / AT_ONCE);
  if (!opened.has(block)) opened.set(block, blocks[block].textContent.split("\n"));
  const parts = opened.get(block)[index % AT_ONCE].split(" ");
  return parts.map((part) => (part === "-" ? undefined : `data:image/webp;base64,${part}`));
}

/** A picture that runs through its kinds while the pointer moves across it. */
function frame(index, kind = state.kind) {
  const view = views[index];
  const sources = pictures(index);
  const there = KINDS.map((_, each) => each).filter((each) => sources[each]);
  const image = h("img", { alt: `${view.label}, ${view.id}`, draggable: "false" });
  const missing = h("span", { class: "missing" });
  const name = h("span", { class: "kind", "aria-hidden": "true" });
  const ticks = h("span", { class: "ticks", "aria-hidden": "true" }, there.length > 1 ? there.map(() => h("i")) : []);
  const show = (which) => {
    image.hidden = !sources[which];
    missing.hidden = !!sources[which];
    if (sources[which]) image.src = sources[which];
    missing.textContent = which ? "This view has no such pass." : "This picture cannot be read; render it again.";
    name.textContent = KINDS[which];
    [...ticks.children].forEach((tick, place) => tick.classList.toggle("on", there[place] === which));
  };
  const scrub = (event) => {
    const box = element.getBoundingClientRect();
    const place = Math.floor(((event.clientX - box.left) / box.width) * there.length);
    if (there.length > 1) show(there[Math.max(0, Math.min(there.length - 1, place))]);
  };
  const element = h(
    "span",
    { class: "frame", onpointermove: (event) => event.pointerType === "mouse" && scrub(event), onpointerleave: () => show(kind) },
    image, missing, name, ticks,
  );
  element.style.setProperty("--shape", `${view.width} / ${view.height}`);
  show(kind);
  return element;
}

/** A picture to press, with lines of text below it; `among` gives the views that the arrows then turn through. */
function tile(index, among, ...lines) {
  const view = views[index];
  const fate = selection && !view.selected ? " left-out" : "";
  return h("button", { type: "button", class: `tile${fate}`, "data-view": view.id, onclick: () => openView(index, among()) }, frame(index), lines);
}

// --- which views, in which order --------------------------------------------------------------------------------------

const texts = views.map((view) =>
  [view.id, view.scene, view.label, ...view.objects.map(([label]) => label), ...view.captions.map((caption) => caption.text)].join("\n").toLowerCase(),
);
const duplicates = new Set(report.duplicates.flat());

/** What "Show" may ask of a view, by the value of its option. */
const shows = {
  all: () => true,
  selected: (view) => view.selected,
  dropped: (view) => !view.selected,
  sound: (view) => !view.failed.length,
  failed: (view) => view.failed.length > 0,
  duplicate: (_, index) => duplicates.has(index),
  captioned: (view) => view.captions.length > 0,
  uncaptioned: (view) => !view.captions.length,
  unsupported: (view) => view.captions.some((caption) => caption.unsupported.length),
};

function isShown(view, index) {
  const [test, detail] = state.show.split(/:(.*)/);
  if (test === "drop" ? view.drop !== detail : test === "check" ? !view.failed.includes(detail) : !shows[test](view, index)) return false;
  if (state.scene && view.scene !== state.scene) return false;
  if (state.subject && view.label !== state.subject) return false;
  for (const [name, [low, high, last]] of state.ranges) {
    const value = figureNamed.get(name).values[index];
    if (value == null || value < low || (last ? value > high : value >= high)) return false;
  }
  return state.query.toLowerCase().split(/\s+/).every((word) => texts[index].includes(word));
}

/** Views with a figure in its order, those without behind them. */
function ordered(indices) {
  const values = figureNamed.get(state.sort)?.values;
  const sign = state.descending ? -1 : 1;
  if (!values) return state.descending ? indices.reverse() : indices;
  const key = (index) => (values[index] == null ? Infinity : sign * values[index]);
  return indices.sort((one, other) => (key(one) === key(other) ? one - other : key(one) - key(other)));
}

/** Take a change of state, and draw all that follows from it. */
function update(change, page = 0) {
  Object.assign(state, change, { page });
  shown = ordered(views.map((_, index) => index).filter((index) => isShown(views[index], index)));
  drawBar();
  drawSheet();
  histograms.forEach((draw) => draw());
}

/** Show views that something elsewhere on the page is about. */
function goToViews(change) {
  update(change);
  byId("views").scrollIntoView();
}

function setRange(name, range) {
  if (range) state.ranges.set(name, range);
  else state.ranges.delete(name);
  update({});
}

const CLEAR = { query: "", scene: "", subject: "", show: "all" };

// --- the contact sheet ------------------------------------------------------------------------------------------------

function options(select, groups, pick) {
  const option = ([value, text]) => h("option", { value }, text);
  select.append(...groups.map(([title, entries]) => (title ? h("optgroup", { label: title }, entries.map(option)) : entries.map(option))).flat());
  select.addEventListener("change", () => pick(select.value));
  select.closest("label").hidden = groups.flatMap(([, entries]) => entries).length < 2;
}

function tally(key) {
  const totals = new Map();
  for (const view of views) totals.set(key(view), (totals.get(key(view)) ?? 0) + 1);
  return [...totals].sort(([one], [other]) => one.localeCompare(other)).map(([name, total]) => [name, `${name} (${total})`]);
}

function setUpBar() {
  const some = (all, entries) => [["", all], ...(entries.length > 1 ? entries : [])];
  options(byId("scene"), [["", some("All", tally((view) => view.scene))]], (scene) => update({ scene }));
  options(byId("subject"), [["", some("All", tally((view) => view.label))]], (subject) => update({ subject }));
  const named = [["selected", "Selected"], ["dropped", "Not selected"], ["sound", "Passed the last check"], ["failed", "Failed the last check"],
    ["duplicate", "Duplicates"], ["captioned", "With a caption"], ["uncaptioned", "Without a caption"], ["unsupported", "Captions in doubt"]];
  const telling = named.filter(([value]) => {
    const total = views.filter(shows[value]).length;
    return total > 0 && total < views.length;
  });
  const codes = (prefix, list) => list.map(({ name, count: total }) => [`${prefix}:${name}`, `${name} (${total})`]);
  const groups = [["", [["all", "All views"], ...telling]], ["Not selected", codes("drop", selection?.reasons ?? [])], ["Failed the last check", codes("check", report.funnel.failed)]];
  options(byId("show"), groups.filter(([, entries]) => entries.length), (show) => update({ show }));
  const kinds = [...new Set(figures.map((figure) => figure.group))];
  const sorts = kinds.map((group) => [group, figures.filter((figure) => figure.group === group).map((figure) => [figure.name, figure.title])]);
  options(byId("sort"), [["", [["", "Scene and subject"]]], ...sorts], (sort) => update({ sort }));
  byId("query").addEventListener("input", (event) => update({ query: event.target.value }));
  byId("direction").addEventListener("click", () => update({ descending: !state.descending }));
  byId("kinds").append(...kindSwitch("sheet", state.kind, (kind) => update({ kind }, state.page)));
}

function kindSwitch(group, chosen, pick) {
  return KINDS.map((kind, index) =>
    h("label", {}, h("input", { type: "radio", name: `kind-${group}`, checked: index === chosen, onchange: () => pick(index) }), kind),
  );
}

function drawBar() {
  for (const name of ["query", "scene", "subject", "show", "sort"]) if (byId(name).value !== state[name]) byId(name).value = state[name];
  const [rising, falling] = state.sort ? ["Lowest first", "Highest first"] : ["In order", "Reversed"];
  byId("direction").textContent = state.descending ? falling : rising;
  byId("direction").setAttribute("aria-pressed", state.descending);
  byId("count").textContent = shown.length === views.length ? count(views.length, "view") : `${shown.length.toLocaleString("en")} of ${count(views.length, "view")}`;
  const chip = (text, clear) => h("button", { type: "button", "aria-label": `Remove: ${text}`, onclick: clear }, `${text} ×`);
  const ranges = [...state.ranges].map(([name, [low, high]]) =>
    chip(`${figureNamed.get(name).title} ${numeral(low)} to ${numeral(high)}`, () => setRange(name)),
  );
  const filtered = Object.keys(CLEAR).some((name) => state[name] !== CLEAR[name]);
  const all = filtered || ranges.length > 1 ? chip("Show all", () => (state.ranges.clear(), update(CLEAR))) : null;
  byId("chips").replaceChildren(...ranges, ...(all ? [all] : []));
}

function drawPager(pager, turn) {
  const pages = Math.max(1, Math.ceil(shown.length / AT_ONCE));
  const button = (text, page) => h("button", { type: "button", disabled: page < 0 || page >= pages, onclick: () => turn(page) }, text);
  const first = state.page * AT_ONCE;
  const place = h("span", {}, `${(first + 1).toLocaleString("en")}–${Math.min(first + AT_ONCE, shown.length).toLocaleString("en")}`);
  pager.replaceChildren(...(pages > 1 ? [button("Previous", state.page - 1), place, button("Next", state.page + 1)] : []));
}

function drawSheet() {
  const first = state.page * AT_ONCE;
  const figure = figureNamed.get(state.sort);
  const tiles = shown.slice(first, first + AT_ONCE).map((index) => tile(index, () => shown, titleOf(index, figure), saysOf(views[index])));
  const none = h("p", { class: "empty" }, "No view is like that. ", h("button", { type: "button", onclick: () => (state.ranges.clear(), update(CLEAR)) }, "Show all"));
  byId("sheet").replaceChildren(...(tiles.length ? tiles : [none]));
  const turn = (page) => {
    update({}, page);
    byId("pager").querySelector("button:not(:disabled)")?.focus({ preventScroll: true });
  };
  drawPager(byId("pager"), turn);
  drawPager(byId("pager-below"), (page) => (turn(page), byId("views").scrollIntoView()));
}

function titleOf(index, figure) {
  return h("span", { class: "title" }, h("b", {}, views[index].label), figure ? h("span", {}, numeral(figure.values[index])) : null);
}

/** The most telling line about a view. */
function saysOf(view) {
  const bad = view.drop || view.failed.join(", ");
  const text = bad || view.captions.at(-1)?.text;
  return text ? h("span", { class: bad ? "says bad" : "says" }, text) : null;
}

// --- the card and the funnel ------------------------------------------------------------------------------------------

const hint = (text, command) => h("p", { class: "note" }, `${text} `, h("code", {}, command), ".");

function drawCard() {
  const facts = new Map(report.facts);
  const number = (name) => Number(facts.get(name).replaceAll(",", ""));
  const from = number("Scenes") ? ` of ${count(number("Subjects"), "subject")} in ${count(number("Scenes"), "scene")}` : "";
  byId("lead").textContent = `${count(views.length, "view")}${from}`;
  byId("card").append(...report.facts.slice(3).map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text))));
  const sections = [...document.querySelectorAll("main > section")].map((section) => section.id);
  byId("sections").append(...sections.map((id) => h("a", { href: `#${id}` }, id[0].toUpperCase() + id.slice(1))));
}

function steps() {
  const { funnel } = report;
  const candidates = funnel.runs.reduce((total, run) => total + (run.candidates ?? 0), 0);
  const accepted = funnel.runs.reduce((total, run) => total + (run.accepted ?? 0), 0);
  const sound = funnel.runs.reduce((total, run) => total + run.sound, 0);
  const before = candidates ? [[candidates, "cameras proposed"], [accepted, "cameras passed every gate"]] : [];
  const rendered = funnel.runs.reduce((total, run) => total + run.rendered, 0);
  const renders = rendered ? [[rendered, "best of them rendered"], [sound, "passed the last check"]] : [];
  const made = views.length > rendered ? [[views.length, rendered ? "views in all, with those that were not rendered" : "pictures"]] : [];
  const after = selection ? [[selection.chosen, `selected by “${selection.name}”`]] : [];
  return [...before, ...renders, ...made, ...after];
}

function bars(entries, pick) {
  const most = Math.max(...entries.map((entry) => entry.count));
  return h("ol", { class: "bars" }, entries.map((entry) => {
    const rail = h("i");
    rail.style.width = `${(100 * entry.count) / most}%`;
    const parts = [h("span", {}, entry.name), h("span", { class: "rail" }, rail), h("span", { class: "number" }, entry.count.toLocaleString("en"))];
    const title = entry.meaning || null;
    return h("li", {}, pick ? h("button", { type: "button", title, onclick: () => pick(entry) }, parts) : h("div", { title }, parts));
  }));
}

function drawFunnel() {
  const all = steps();
  byId("steps").append(...all.map(([number, says], place) => {
    const share = place ? number / Math.max(1, all[place - 1][0]) : 1;
    const meter = h("i");
    meter.style.width = `${100 * Math.min(1, share)}%`;
    const kept = place && share <= 1 ? `${says}, ${percent(share)}` : says; // synthesis adds views
    return h("li", {}, h("strong", {}, number.toLocaleString("en")), h("span", {}, kept), h("div", { class: "meter" }, meter));
  }));
  const { funnel } = report;
  const why = (title, entries, none, pick) => h("div", {}, h("h3", {}, title), entries.length ? bars(entries, pick) : none);
  const open = (prefix) => ({ name }) => goToViews({ ...CLEAR, show: `${prefix}:${name}` });
  const unkept = h("p", { class: "note" }, "No run here has kept its funnel, so nothing is known of the cameras that were not rendered.");
  const unselected = report.selections.length
    ? hint(`This page shows no selection. There are ${report.selections.join(", ")}; show one with`, `blendset report ${report.folder} --selection ${report.selections[0]}`)
    : hint("There is no selection yet; make one with", `blendset select ${report.folder} --preset blendset --name first`);
  const isRendered = funnel.runs.length > 0;
  if (!isRendered) byId("funnel-title").textContent = "From all pictures to chosen ones";
  byId("reasons").append(
    ...(isRendered ? [why("Why cameras were turned down", funnel.turned_down, unkept)] : []),
    h("div", {},
      isRendered ? why("Why rendered views failed the last check", funnel.failed, h("p", { class: "note" }, "All of them passed."), open("check")) : null,
      isRendered ? h("br") : null,
      why("Why views were not selected", selection?.reasons ?? [], selection ? h("p", { class: "note" }, "All of them were selected.") : unselected, open("drop")),
      selection?.rules ? h("details", {}, h("summary", {}, `The rules of “${selection.name}”`), h("pre", {}, selection.rules)) : null,
    ),
  );
  if (funnel.runs.length > 1) byId("runs").append(runTable(funnel.runs));
}

function runTable(runs) {
  const cell = (value) => h("td", {}, value == null ? "–" : value.toLocaleString("en"));
  const rows = runs.map((run) => h("tr", {}, h("th", { scope: "row" }, run.run), [run.candidates, run.accepted, run.rendered, run.sound].map(cell)));
  const head = h("tr", {}, ["run", "proposed", "passed every gate", "rendered", "passed the last check"].map((title) => h("th", { scope: "col" }, title)));
  return h("details", {}, h("summary", {}, `The same for each of ${count(runs.length, "run")}`), h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, rows))));
}

// --- figures ----------------------------------------------------------------------------------------------------------

const histograms = []; // one function per figure that draws it anew

const whenSeen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((each) => each.isIntersecting)) {
    whenSeen.unobserve(entry.target);
    entry.target.draw();
  }
}, { rootMargin: "400px" });

function drawFigures() {
  const spread = (figure) => new Set(figure.values.filter((value) => value != null)).size;
  const hints = {
    Scores: ["There are no scores yet; make some with", `blendset score ${report.folder} --with image-stats`],
  };
  for (const group of ["Scores", "Captions", "Camera and framing", "Light"]) {
    const members = figures.filter((figure) => figure.group === group && spread(figure));
    const varied = members.filter((figure) => spread(figure) > 1);
    const constant = members.filter((figure) => spread(figure) === 1);
    if (!members.length && !hints[group]) continue;
    byId("groups").append(h("div", { class: "group" }, h("h3", {}, group),
      members.length ? null : hint(...hints[group]),
      constant.length ? h("p", { class: "note" }, `The same in every view: ${constant.map((figure) => `${figure.title.toLowerCase()} ${numeral(figure.values.find((value) => value != null))}`).join(", ")}.`) : null,
      varied.length ? h("div", { class: "histograms" }, varied.map(figureCard)) : null));
  }
}

function figureCard(figure) {
  const there = figure.values.map((_, index) => index).filter((index) => figure.values[index] != null);
  const byValue = there.sort((one, other) => figure.values[one] - figure.values[other] || one - other);
  const sort = h("button", { type: "button", onclick: () => goToViews({ sort: figure.name }), "aria-label": `Sort views by ${figure.title}` }, "Sort views");
  const missing = views.length - there.length;
  const note = [figure.scale, missing ? `${missing.toLocaleString("en")} without` : ""].filter(Boolean).join("; ");
  const number = Math.min(ENDS, Math.floor(there.length / 2));
  const end = (title, indices) => {
    const holder = h("div", { class: "end" });
    holder.style.minHeight = "5rem";
    holder.draw = () => holder.replaceChildren(...indices.map((index) => tile(index, () => indices, numeral(figure.values[index]))));
    whenSeen.observe(holder);
    return h("div", {}, h("p", {}, title), holder);
  };
  return h("article", { class: "figure", "data-figure": figure.name },
    h("header", {}, h("div", {}, h("h3", {}, figure.title), h("p", { class: "scale" }, note)), sort),
    histogram(figure, byValue),
    h("div", { class: "ends" }, end("Lowest", byValue.slice(0, number)), end("Highest", byValue.slice(-number).reverse())));
}

/** Edges of the bins: fewer for few values; whole numbers get bins of whole width. */
function edges(values) {
  const [low, high] = [values[0], values.at(-1)];
  const wanted = Math.min(MOST_BINS, Math.max(6, Math.ceil(2 * Math.sqrt(values.length))));
  const whole = values.every(Number.isInteger);
  const width = whole ? Math.ceil((high - low + 1) / wanted) : (high - low) / wanted;
  const bins = whole ? Math.ceil((high - low + 1) / width) : wanted;
  return Array.from({ length: bins + 1 }, (_, place) => (place === bins && !whole ? high : low + place * width));
}

function histogram(figure, byValue) {
  const values = byValue.map((index) => figure.values[index]);
  const [low, high] = [values[0], values.at(-1)];
  const bounds = edges(values);
  const bins = bounds.length - 1;
  const bin = (value) => Math.min(bins - 1, Math.floor(((value - low) / (bounds[bins] - low)) * bins));
  const counts = (indices) => {
    const totals = new Array(bins).fill(0);
    for (const index of indices) if (figure.values[index] != null) totals[bin(figure.values[index])] += 1;
    return totals;
  };
  const all = counts(byValue);
  const most = Math.max(...all);
  const bar = (kind, place) => h("rect", { class: kind, x: place + 0.06, width: 0.88 });
  const stand = (rect, total) => {
    const height = total ? Math.max(1.5, (100 * total) / most) : 0;
    rect.setAttribute("y", 100 - height);
    rect.setAttribute("height", height);
  };
  const grey = all.map((_, place) => bar("all", place));
  const blue = all.map((_, place) => bar("shown", place));
  const places = all.map((total, place) => {
    const range = [bounds[place], bounds[place + 1], place === bins - 1];
    const label = `${numeral(range[0])} to ${numeral(range[1])}: ${count(total, "view")}`;
    const toggle = () => setRange(figure.name, state.ranges.get(figure.name)?.[0] === range[0] ? undefined : range);
    const rect = h("rect", { class: "place", x: place, y: 0, width: 1, height: 100, role: "button", "aria-label": label, tabindex: place ? -1 : 0, onclick: toggle });
    rect.append(h("title", {}, label));
    rect.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) moveTo(place + step);
      if (event.key === "Enter" || event.key === " ") toggle();
      if (step || event.key === " ") event.preventDefault();
    });
    return rect;
  });
  const moveTo = (place) => {
    if (!places[place]) return;
    places.forEach((rect, each) => rect.setAttribute("tabindex", each === place ? 0 : -1));
    places[place].focus();
  };
  grey.forEach((rect, place) => stand(rect, all[place]));
  histograms.push(() => {
    counts(shown).forEach((total, place) => stand(blue[place], total));
    places.forEach((rect, place) => rect.classList.toggle("on", state.ranges.get(figure.name)?.[0] === bounds[place]));
  });
  const chart = h("svg", { class: "histogram", viewBox: `0 0 ${bins} 100`, preserveAspectRatio: "none", role: "group", "aria-label": `Histogram: ${figure.title}` }, grey, blue, places);
  const middle = values[Math.floor(values.length / 2)];
  return h("div", {}, chart, h("div", { class: "axis" }, h("span", {}, numeral(low)), h("span", {}, `median ${numeral(middle)}`), h("span", {}, numeral(high))));
}

/** A row of pictures that is drawn when it is first seen: the first ones of `places`, with a figure where one is given. */
function stripOf(places, among, figure) {
  const strip = h("div", { class: "strip" });
  strip.style.minHeight = "9rem";
  strip.draw = () => strip.append(...places.slice(0, IN_STRIP).map((index) => tile(index, among, titleOf(index, figure))));
  whenSeen.observe(strip);
  return strip;
}

// --- captions and duplicates ------------------------------------------------------------------------------------------

function drawCaptions() {
  const captioned = views.filter((view) => view.captions.length);
  const notes = byId("caption-notes");
  if (!captioned.length) return notes.append(hint("No view has a caption yet; write some with", `blendset caption ${report.folder} --with metadata`));
  const doubtful = views.filter((view) => shows.unsupported(view)).length;
  notes.append(h("p", { class: "note" }, `${count(captioned.length, "view")} of ${views.length.toLocaleString("en")} ${captioned.length === 1 ? "has" : "have"} a caption. `,
    doubtful ? `In ${count(doubtful, "view")} a caption names things that the picture does not show.` : "None is known to name what its picture does not show.",
    " Their lengths and grounding are among the figures above."));
  const nouns = report.unsupported.slice(0, 20).map(([name, total]) => ({ name, count: total }));
  if (nouns.length) notes.append(h("div", { class: "group" }, h("h3", {}, "Nouns that the pictures do not show"), bars(nouns, ({ name }) => goToViews({ ...CLEAR, show: "unsupported", query: name }))));
}

function drawDuplicates() {
  const groups = report.duplicates;
  const holder = byId("duplicate-groups");
  const exact = report.compared === "byte for byte";
  holder.append(h("p", { class: "note" }, groups.length
    ? `${count(duplicates.size, "view")} in ${count(groups.length, "group")} look the same, compared ${report.compared}.`
    : `No two views are the same, compared ${report.compared}.`));
  if (exact) holder.append(hint("To find pictures that are nearly the same too:", `blendset score ${report.folder} --with phash`));
  for (const group of groups.slice(0, AT_ONCE)) {
    holder.append(stripOf(group, () => group));
  }
  if (groups.length > AT_ONCE) holder.append(h("p", { class: "note" }, `The first ${AT_ONCE} groups are shown; “Show duplicates” above the contact sheet has all.`));
}

// --- synthesis ---------------------------------------------------------------------------------------------------------

function drawSynthesis() {
  const { synthesis } = report;
  if (!synthesis) return;
  const agreement = figureNamed.get("consistency.subject_delta_e");
  byId("synthesis-note").textContent = `A generator made ${count(synthesis.views, "view")} in ${count(synthesis.total, "set")}.` +
    (agreement ? " The number is how far the subject's colours differ from those of the set's other views at the same points (CIE76). Renders differ too, by highlights: compare with theirs." : "");
  if (!agreement) byId("synthesis-note").after(hint("To measure whether views that keep a render's passes agree:", `blendset score ${report.folder} --with consistency`));
  for (const { job, model, prompt, parents, views: made } of synthesis.sets) {
    const row = (places, says) => places.length ? [h("p", { class: "scale" }, says), stripOf(places, () => [...parents, ...made], agreement)] : [];
    byId("synthesized").append(h("div", { class: "group" },
      h("h3", {}, prompt || views[made[0]].label),
      h("p", { class: "note" }, `${job}, by ${model}`),
      row(parents, "made from"), row(made, "made")));
  }
  if (synthesis.total > synthesis.sets.length) byId("synthesized").append(h("p", { class: "note" }, `The first ${synthesis.sets.length} sets are shown.`));
}

// --- training ----------------------------------------------------------------------------------------------------------

function drawTraining() {
  const { training } = report;
  if (!training) return;
  const trains = (band) => training.rows.filter((row) => row.band === band);
  byId("training-note").textContent = `${training.name}: ${count(training.samples, "picture")} seen. Each chart is a band of noise with the sources that train it; lines are the mean loss in training, rings that of held-out views.`;
  byId("losses").append(...training.bands.filter((band) => trains(band).length).map((band) => lossChart(band, trains(band))));
  byId("grids").append(...training.pictures.map(([seen, source]) =>
    h("figure", {}, h("img", { src: source, alt: `Pictures of the validation prompts after ${count(seen, "picture")}` }), h("figcaption", {}, `after ${count(seen, "picture")}`)),
  ));
  byId("grids").hidden = !training.pictures.length;
}

/** Loss by pictures seen in one band, a colour to a source. */
function lossChart(band, rows) {
  const { samples, sources, trained, held_out } = report.training;
  const lines = rows.map(({ source }) => ({
    hue: `hue-${sources.indexOf(source) % 4}`,
    trained: trained[`${source}/${band}`] ?? [],
    heldOut: held_out[`${source}/${band}`] ?? [],
  }));
  const losses = lines.flatMap(({ trained, heldOut }) => [...trained, ...heldOut].map(([, loss]) => loss));
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const place = ([seen, loss]) => [(400 * seen) / samples, high > low ? 100 - (100 * (loss - low)) / (high - low) : 50];
  const ring = (hue, point) => {
    const [cx, cy] = place(point);
    return h("circle", { class: hue, cx, cy, r: 3.5 }, h("title", {}, `held out, after ${count(point[0], "picture")}: ${numeral(point[1])}`));
  };
  const drawn = lines.flatMap(({ hue, trained, heldOut }) => [
    h("polyline", { class: hue, points: trained.map(place).join(" ") }),
    ...heldOut.map((point) => ring(hue, point)),
  ]);
  const last = (what, curve) => (curve.length ? [`${what} ${numeral(curve.at(-1)[1])}`] : []);
  const legend = lines.map(({ hue, trained, heldOut }, index) =>
    h("span", { class: hue }, `${rows[index].source}, ${percent(rows[index].responsibility)} of the band `,
      h("small", {}, [...last("trained", trained), ...last("held out", heldOut)].join(", "))),
  );
  const chart = h("svg", { class: "curves", viewBox: "0 0 400 100", role: "img", "aria-label": `Loss by pictures seen, ${band}` }, drawn);
  const range = h("p", { class: "scale" }, losses.length ? `Loss from ${numeral(low)} to ${numeral(high)}` : "No loss is logged yet");
  const axis = h("div", { class: "axis" }, h("span", {}, "0"), h("span", {}, count(samples, "picture")));
  return h("div", { class: "figure", "data-band": band }, h("h3", {}, band), h("p", { class: "legend" }, legend), range, chart, axis);
}

// --- one view ---------------------------------------------------------------------------------------------------------

function openView(index, among) {
  const dialog = byId("view");
  const returnTo = document.activeElement;
  dialog.showModal();
  dialog.addEventListener("close", () => returnTo.focus({ preventScroll: true }), { once: true });
  drawView(index, among);
}

/** Draw a view into the dialog; the keyboard stays on the button that leads on in the direction of the last step. */
function drawView(index, among, kind = state.kind, last = 1) {
  const view = views[index];
  const place = among.indexOf(index);
  const turn = (step) => among[place + step] === undefined || drawView(among[place + step], among, kind, step);
  const picture = h("div", {}, frame(index, kind));
  const pick = (chosen) => {
    kind = chosen;
    picture.replaceChildren(frame(index, kind));
  };
  const button = (text, step, says) => h("button", { type: "button", "aria-label": says, "data-step": step, disabled: among[place + step] === undefined, onclick: () => turn(step) }, text);
  const pairs = (entries) => h("dl", { class: "pairs" }, entries.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
  const measured = figures.filter((figure) => figure.values[index] != null).map((figure) => [figure.title, numeral(figure.values[index])]);
  const part = (title, content) => (content ? [h("h3", {}, title), content] : []);
  byId("view").replaceChildren(h("div", { class: "viewer" },
    h("div", {}, picture, h("fieldset", { class: "switch" }, h("legend", { class: "unseen" }, "What the picture shows"), kindSwitch("view", kind, pick)),
      view.captions.flatMap((caption) => part(`Caption, ${caption.form} (${caption.stage})`, h("p", {}, caption.text, caption.unsupported.length ? h("span", { class: "bad" }, ` In doubt: ${caption.unsupported.join(", ")}.`) : "")))),
    h("div", {},
      h("div", { class: "top" },
        h("h2", { id: "view-title" }, view.label),
        h("div", { class: "turn" }, button("←", -1, "Previous view"), button("→", 1, "Next view"), h("button", { type: "button", "aria-label": "Close", onclick: () => byId("view").close() }, "×"))),
      h("p", { class: "small" }, `${view.scene}, ${view.width} × ${view.height}, ${view.source}; ${(place + 1).toLocaleString("en")} of ${among.length.toLocaleString("en")}`),
      h("p", { class: "small" }, view.path),
      fateOf(view),
      ...part("Figures", pairs(measured)),
      ...part("In the picture", view.objects.length ? pairs(view.objects.map(([label, share]) => [label, percent(share)])) : null))));
  byId("view").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && event.target.type !== "radio") turn(step);
  };
  const enabled = (which) => byId("view").querySelector(`.turn ${which}:not(:disabled)`);
  (enabled(`[data-step="${last}"]`) ?? enabled("button")).focus();
}

function fateOf(view) {
  const lines = [
    view.failed.length ? ["bad", `Failed the last check: ${view.failed.join(", ")}.`] : null,
    view.drop ? ["bad", `Not selected: ${view.drop}.`] : null,
    view.selected ? ["good", `Selected${view.split ? ` for ${view.split}` : ""}${view.weight == null ? "" : `, weight ${numeral(view.weight)}`}.`] : null,
  ];
  return lines.filter(Boolean).map(([kind, text]) => h("p", { class: kind }, text));
}

byId("views-note").textContent = "Move the pointer across a picture to see its objects, depth and normals; press it for everything that is known of the view.";
setUpBar();
drawCard();
drawFunnel();
drawFigures();
drawCaptions();
drawDuplicates();
drawSynthesis();
drawTraining();
update({});
