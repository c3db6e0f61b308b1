// SPDX-License-Identifier: Apache-2.0
// The page of a vote: shows pair after pair, keeps what was chosen in this browser, and offers it as a file. It fetches nothing.

const { ballot, question, pairs, pictures } = JSON.parse(byId("ballot").textContent);
const STORE = `blendset-votes-${ballot}`;
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", t: "tie", T: "tie" };
const SECTIONS = ["start", "vote", "end"];

let state = load() ?? { voter: drawId(), name: "", order: 0, votes: {} };
let section = "start";
let position = 0;
let began = 0;

function byId(id) {
  return document.getElementById(id);
}

const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
const plural = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
const done = () => Object.keys(state.votes).length;

function drawId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(5)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- what the browser keeps ------------------------------------------------------------------------------------------

function load() {
  try {
    return JSON.parse(localStorage.getItem(STORE));
  } catch {
    return null;
  }
}

function save() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
  } catch {
    byId("warning").hidden = false;
  }
}

function download() {
  const votes = Object.entries(state.votes).map(([pair, vote]) => ({ pair: Number(pair), ...vote }));
  const file = { format_version: 1, ballot, voter: state.voter, name: state.name, saved: new Date().toISOString(), votes };
  const slug = state.name.normalize("NFKD").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
  link.download = `votes-${ballot}-${slug || state.voter}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// --- pairs -----------------------------------------------------------------------------------------------------------

function show(which) {
  const turned = section !== which;
  section = which;
  SECTIONS.forEach((name) => (byId(name).hidden = name !== which));
  if (turned) byId(which).querySelector("h1").focus();
  byId("meter").setAttribute("aria-valuenow", done());
  byId("meter").firstElementChild.style.width = `${(100 * done()) / pairs.length}%`;
  byId("count").textContent = { start: "", vote: `Pair ${position + 1} of ${pairs.length}`, end: "All done" }[which];
}

/** Show a pair; the one after the last is the end. */
function turnTo(next) {
  position = next;
  if (position >= pairs.length) {
    byId("done").textContent = `You have voted on all ${plural(pairs.length, "pair")}.`;
    show("end");
    return;
  }
  const pair = pairs[position];
  each(".picture", (button) => {
    const side = button.dataset.choice;
    button.firstElementChild.src = `data:image/webp;base64,${pictures[pair[side]]}`;
    button.firstElementChild.alt = `Picture ${side === "left" ? 1 : 2} of pair ${position + 1}`;
  });
  byId("references").replaceChildren(...pair.references.map((picture, number) => {
    const image = document.createElement("img");
    image.src = `data:image/webp;base64,${pictures[picture]}`;
    image.alt = `The subject, picture ${number + 1}`;
    return image;
  }));
  const chosen = state.votes[position]?.choice;
  each("[data-choice]", (button) => button.setAttribute("aria-pressed", button.dataset.choice === chosen));
  byId("prompt").textContent = pair.prompt;
  document.querySelector('#vote [data-do="back"]').disabled = position === 0;
  show("vote");
  began = performance.now();
}

/** The first pair without a vote, or the end. */
function findOpen() {
  const open = pairs.findIndex((_, pair) => !state.votes[pair]);
  return open < 0 ? pairs.length : open;
}

function choose(choice) {
  state.order += 1;
  state.votes[position] = { choice, milliseconds: Math.round(performance.now() - began), order: state.order };
  save();
  turnTo(findOpen());
}

const ACTIONS = {
  back: () => position > 0 && turnTo(position - 1),
  download,
  restart() {
    if (!confirm("This forgets the votes on this page. Have you downloaded them?")) return;
    localStorage.removeItem(STORE);
    location.reload();
  },
};

// --- clicks and keys -------------------------------------------------------------------------------------------------

each("button[data-choice]", (button) =>
  button.addEventListener("click", (event) => event.detail < 2 && choose(button.dataset.choice)), // a double click votes once
);
each("button[data-do]", (button) => button.addEventListener("click", () => ACTIONS[button.dataset.do]()));
byId("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  state.name = byId("name").value.trim();
  save();
  turnTo(findOpen());
});
document.addEventListener("keydown", (event) => {
  if (section === "start" || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const choice = section === "vote" ? KEYS[event.key] : undefined;
  if (choice || event.key === "Backspace") event.preventDefault();
  if (choice) choose(choice);
  else if (event.key === "Backspace") ACTIONS.back();
});

each(".question", (heading) => (heading.textContent = question));
byId("total").textContent = plural(pairs.length, "pair");
byId("name").value = state.name;
if (done()) document.querySelector("#begin button").textContent = `Continue (${done()} of ${pairs.length} done)`;
show("start");
