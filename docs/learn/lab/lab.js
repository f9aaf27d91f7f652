// The page of the lab: it sends what the reader asks for to the worker, and draws the facts that
// come back with the modules of the view. testing/raftline_testing/picture/lab/page.py has the requests.
import { Model } from "../../../src/picture/view/static/model.js";
import { Diagram } from "../../../src/picture/view/static/diagram.js";
import { Cards, element } from "../../../src/picture/view/static/cards.js";
import { Logs } from "../../../src/picture/view/static/logs.js";
import { Details } from "../../../src/picture/view/static/details.js";
import { Events } from "../../../src/picture/view/static/events.js";
import { LinkMap } from "./links.js";

const $ = (id) => document.getElementById(id);
const here = (path) => new URL(path, import.meta.url).href;
const CDN = "https://cdn.jsdelivr.net/npm/pyodide@314.0.7/";
const SPEEDS = [["1/100", 0.01], ["1/20", 0.05], ["1/5", 0.2], ["1", 1], ["5", 5], ["20", 20]];
const SLOW_DISK_MS = 40, LEAST_SPAN_S = 0.02, MOST_SPAN_S = 20, EDGE = 0.04, MB = 1048576, FRAME_MS = 200, BUGS = 24, ADDRESS_MS = 250;

const model = new Model();
const view = { end: 0, span: 0.5, pulses: true, chosen: null, shown: 0, failed: null, marked: false, pan: 0 };
let facts = { members: [], nodes: {}, flights: [], cuts: [], moment: [0, 0] };
let isPlaying = false, isBusy = false, speed = 0.2, clock_ms = 0, tickedAt = 0, addressTimer = 0, core = "", waiting = "";

// --- the worker -----------------------------------------------------------------------------

class Remote {
  constructor() { this.waiting = []; this.worker = new Worker(here("worker.js"), { type: "module" }); }

  // Loads CPython and the sources.
  open(settings, progress) {
    return new Promise((resolve, reject) => {
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker does not start"));
      this.worker.onmessage = ({ data }) => {
        if (data.loaded) progress(data.loaded);
        else if (data.failed) reject(new Error(data.failed));
        else { this.listen(); resolve(); }
      };
      this.worker.postMessage({ open: settings });
    });
  }

  listen() {
    const settle = (value) => this.waiting.shift()(value);
    this.worker.onmessage = ({ data }) => { if ("answer" in data) settle(JSON.parse(data.answer)); else if (data.failed) settle({ crash: data.failed }); };
    this.worker.onerror = (event) => settle({ crash: event.message });
  }

  ask(request) { return this.post(JSON.stringify(request)); }
  memory() { return this.post({ memory: true }); }
  post(data) { return new Promise((resolve) => { this.waiting.push(resolve); this.worker.postMessage(data); }); }
}

const remote = new Remote();
window.lab = { ask: (request) => remote.ask(request), open: (address) => openRun(address), memory: () => remote.memory() };  // for the console of the browser

async function ask(request) {
  isBusy = true;
  const answer = await remote.ask(request);
  isBusy = false;
  if (answer.crash) { $("link").textContent = `The program ended: ${answer.crash.trim().split("\n").pop()}`; play(false); return answer; }
  take(answer);
  return answer;
}

// --- what the reader asks for -----------------------------------------------------------------

const act = (text) => { view.pan = 0; return ask({ do: "act", act: text }); };

async function move(request) {
  play(false);
  view.pan = 0;
  if (request.do === "back") forget();
  const answer = await ask(request);
  if (!answer.crash && !answer.happened && !facts.broken) say(request.do === "back" ? "this is the beginning" : "nothing but heartbeats for a while");
  chooseLast(request.do);
}

function forget() { view.chosen = null; details.show(null); $("details").replaceChildren(); }

// After a step, its reason is shown.
function chooseLast(kind) {
  const last = model.steps[model.steps.length - 1];
  if (kind !== "back" && last) { choose(last); view.chosen = null; }
}

function play(wanted) {
  isPlaying = wanted && !facts.broken;
  clock_ms = facts.now_ms || 0; tickedAt = performance.now();
  if (isPlaying) { view.pan = 0; forget(); }
  $("play").setAttribute("aria-pressed", String(isPlaying));
  $("play").textContent = isPlaying ? "Pause" : "Play";
  if (!isPlaying) keepAddress();
}

// A browser bounds how often an address may change.
function keepAddress() { clearTimeout(addressTimer); addressTimer = setTimeout(writeAddress, ADDRESS_MS); }

function writeAddress() {
  const address = waiting ? waiting : facts.story && !facts.moment[0] ? `story=${facts.story.name}` : facts.address;
  if (address) history.replaceState(null, "", `#${address}`);
}

// A story begins with its plan; another act makes it a run of the reader's own.
function showTale() {
  const story = facts.story, key = story ? story.name : "";
  $("stories").value = key;
  if ($("tale").dataset.shown === key) return;
  $("tale").dataset.shown = key; $("tale").hidden = !story;
  if (!story) return;
  const verdict = element("p", "", { class: "verdict", role: "status" }), row = element("div", undefined, { class: "orders", role: "group", "aria-label": "Answers to the question" });
  for (const choice of story.choices) {
    const button = element("button", choice, { type: "button", "data-choice": choice });
    button.addEventListener("click", async () => {
      const answer = await ask({ do: "judge", choice });
      verdict.textContent = answer.happened ? `Yes: the world says ${choice}.` : `Not ${choice}. Run it to ${story.end_ms} ms, and look.`;
    });
    row.append(button);
  }
  $("tale").replaceChildren(element("h2", `${story.title} (${story.section})`), element("p", story.sentences.join(" ")), element("p", story.question), row, verdict);
}

// A schedule of the grader waits for the hand-in.
async function openRun(address) {
  waiting = !core.trim() && address.startsWith("grade=") ? address : "";
  if (waiting) {
    editCore("the raft.py of the hand-in that this schedule is for");
    if (facts.members.length) return;
    address = "";
  }
  play(false);
  forget();
  view.pan = 0;
  $("answers").replaceChildren();
  await ask({ do: "open", address });
  keepAddress();
}

function choose(what) { view.chosen = what; details.show(what); offerMessage(what); }

// The buttons of a message in flight, below its details.
function offerMessage(what) {
  const flight = what && what.k === "message" && facts.flights.find((one) => one.from === what.from && one.to === what.to && one.line === what.line);
  if (flight) $("details").append(messageButtons(flight));
}

function messageButtons(flight) {
  const row = element("span", undefined, { class: "orders" });
  for (const [text, verb] of [["Deliver", "deliver"], ["Drop", "drop"], ["Double", "double"], ["Hold", "hold"]]) {
    if (verb === "hold" && flight.held) continue;
    const button = element("button", text, { type: "button", "aria-label": `${text} message ${flight.number} from ${flight.from} to ${flight.to}`, "data-act": `${verb} ${flight.number}` });
    button.addEventListener("click", () => act(`${verb} ${flight.number}`));
    row.append(button);
  }
  return row;
}

function edit(title, text, save) {
  const dialog = $("editor"), area = dialog.querySelector("textarea");
  play(false);
  dialog.querySelector("h2").textContent = title;
  area.value = text;
  area.setAttribute("aria-label", title);
  dialog.onclose = () => { if (dialog.returnValue === "save") save(area.value); else waiting = ""; };
  dialog.returnValue = "";
  dialog.showModal();
}

const editLog = (node) => edit(`${node}.log`, facts.nodes[node].files[`${node}.log`] || "", (text) => act(`edit ${node} ${JSON.stringify(text)}`));

const editCore = (title) => edit(title, core, useCore);

// The nodes of later runs have this core; an empty text stands for raftline's own.
async function useCore(source) {
  forget();
  core = source;
  $("bugs").disabled = Boolean(source.trim());
  $("link").textContent = source.trim() ? "your raft.py, in virtual time" : "real nodes, in virtual time";
  const answer = await ask({ do: "core", source });
  if (!source.trim() || !waiting || answer.broken) await newRun(); else await openRun(waiting);
}

// --- what the page shows ------------------------------------------------------------------------

class LabCards extends Cards {
  orders(node) {
    const row = element("div", undefined, { class: "orders", role: "group", "aria-label": `acts on ${node}` });
    const add = (text, order, title) => {
      const button = element("button", text, { type: "button", title, "data-order": text, "data-node": node });
      button.addEventListener("click", () => (typeof order === "function" ? order() : act(order)));
      row.append(button);
    };
    const fact = () => facts.nodes[node] || {};
    add("Crash", `crash ${node}`, "its process is killed");
    add("Restart", `restart ${node}`, "it starts with the files that it left");
    add("Pause", () => act(`${fact().paused ? "resume" : "pause"} ${node}`), "it takes no input while time passes");
    add("Lose log", `lose log ${node}`, "its log is deleted, and it starts again");
    add("Slow disk", () => act(`slow disk ${node} ${fact().disk === "slow" ? 0 : SLOW_DISK_MS}`), `each write takes ${SLOW_DISK_MS} ms`);
    add("Hang disk", () => act(`${fact().disk === "held" ? "release" : "hold"} disk ${node}`), "no write returns");
    add("Cut off", `cut ${node}`, "no message leaves or reaches it");
    add("Lead", () => act(`${leader() || node} hands over to ${node}`), "the leader hands over to it");
    add("Edit log", () => editLog(node), "change its file by hand, while it is down");
    return row;
  }

  showFacts(node) {
    const { card } = this.cards.get(node), fact = facts.nodes[node];
    if (!fact) return;
    let file = card.querySelector(".file");
    if (!file) { file = element("pre", "", { class: "file", tabindex: "0", "aria-label": `the file ${node}.log` }); card.append(file); }
    const text = fact.files[`${node}.log`] ?? "(no log)";
    if (file.textContent !== text) { file.textContent = text; file.scrollTop = file.scrollHeight; }
    const button = (name) => card.querySelector(`[data-order="${name}"]`);
    for (const name of ["Crash", "Pause", "Slow disk", "Hang disk", "Lead"]) button(name).disabled = !fact.up;
    button("Edit log").disabled = fact.up;
    button("Pause").textContent = fact.paused ? "Resume" : "Pause";
    button("Slow disk").setAttribute("aria-pressed", String(fact.disk === "slow"));
    button("Hang disk").textContent = fact.disk === "held" ? "Release disk" : "Hang disk";
    if (!fact.up) this.cards.get(node).role.textContent = "down";
    else if (fact.paused) this.cards.get(node).role.textContent += ", paused";
  }
}

function leader() { return facts.members.find((node) => { const one = model.at(node, view.end); return one && !one.gone && one.state.role === "leader"; }); }

const diagram = new Diagram($("diagram"), model, view);
const cards = new LabCards($("nodes"), model, () => {});
const logs = new Logs($("logs"), model);
const details = new Details($("details"), model, choose);
const linkMap = new LinkMap($("map"), act);
const events = new Events($("list"), $("news"), model, choose);

function take(answer) {
  const { problem, ...now } = answer, hadNodes = facts.members.join();
  if (now.anew) { view.chosen = null; events.last = ""; events.said = 0; }
  facts = { ...now, controller: true };
  if (now.anew) model.members = [];
  for (const name of now.members) if (!model.members.includes(name)) model.members.push(name);
  model.take(now);
  for (const text of now.answers) say(text);
  if (problem || now.refused) say(`✗ ${problem || now.refused}`);
  if (now.members.join() !== hadNodes || now.anew) rebuild();
  $("broken").hidden = !now.broken;
  $("broken").querySelector("span").textContent = now.broken + verdictOnActs(now);
  if (now.broken && isPlaying) play(false);
  if (!isPlaying) keepAddress();
  showTale();
  showLists();
  show();
}

// How short the way to a bug could be.
function verdictOnActs({ fewest_acts: fewest, moment: [, acts] }) {
  if (fewest === undefined) return "";
  const counted = (count) => (count === 1 ? "1 act" : `${count} acts`);
  return `. You found the bug with ${counted(acts)}; the shortest way known has ${counted(fewest)}.`;
}

function say(text) {
  $("answers").prepend(element("li", text));
  while ($("answers").children.length > 50) $("answers").lastChild.remove();
}

// The parts that depend on who is there.
function rebuild() {
  $("nodes").replaceChildren(); cards.cards.clear(); cards.longest = {};
  const kept = $("target").value;
  $("target").replaceChildren(...facts.members.map((name) => element("option", name, { value: name })));
  if (facts.members.includes(kept)) $("target").value = kept;
}

function showLists() {
  const flights = facts.flights.map((flight) => {
    const item = element("li"), left = flight.held ? "held" : `${Math.max(0, flight.due_ms - facts.now_ms)} ms`;
    if (flight.held) item.classList.add("held");
    item.append(element("span", `${flight.from} → ${flight.to} ${left}: ${flight.line}`, { title: flight.line }), messageButtons(flight));
    return item;
  });
  const held = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.act : undefined;
  $("flights").replaceChildren(...flights);
  if (held) $("flights").querySelector(`[data-act="${held}"]`)?.focus();
  showLinks();
}

function showLinks() {
  linkMap.show(facts.members, facts.cuts);
  const key = JSON.stringify([facts.members, facts.cuts]);
  if ($("links").dataset.shown === key) return;
  const held = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.link : undefined;
  $("links").dataset.shown = key;
  const head = element("tr");
  head.append(element("th", "from ╲ to", { scope: "col" }), ...facts.members.map((name) => element("th", name, { scope: "col" })));
  $("links").replaceChildren(head, ...facts.members.map((from) => {
    const row = element("tr");
    row.append(element("th", from, { scope: "row" }), ...facts.members.map((to) => { const cell = element("td"); if (from !== to) cell.append(linkButton(from, to)); return cell; }));
    return row;
  }));
  if (held) $("links").querySelector(`[data-link="${held}"]`)?.focus();
}

function linkButton(from, to) {
  const isCut = facts.cuts.some(([one, other]) => one === from && other === to);
  const button = element("button", isCut ? "✕" : "→", { type: "button", "aria-pressed": String(isCut), "aria-label": `the link from ${from} to ${to} is cut`, "data-link": `${from} ${to}` });
  button.addEventListener("click", () => act(isCut ? `mend ${from} ${to}` : $("both").checked ? `cut ${from} | ${to}` : `cut ${from} -> ${to}`));
  return button;
}

function show() {
  const now_s = Math.max(facts.now_ms, isPlaying ? clock_ms : 0) / 1000 - (model.origin || 0);
  view.end = Math.max(LEAST_SPAN_S, Math.max(model.newest, now_s) + view.span * EDGE + view.pan);
  const step = view.chosen && view.chosen.k === "message" ? model.byId.get(view.chosen.by) : view.chosen;
  view.shown = step ? model.time(step.node, step.at) : view.end;
  view.marked = Boolean(step);
  diagram.draw(view.end);
  cards.show(view.shown, facts);
  for (const node of facts.members) cards.showFacts(node);
  logs.show(view.shown, facts.members, step);
  events.show(view.end, view);
  $("clock").textContent = `${facts.now_ms} ms, event ${facts.moment[0]}`;
}

// --- time ---------------------------------------------------------------------------------------

function frame(stamp) {
  if (isPlaying) {
    // A slow machine plays slower: the clock stays near the events.
    clock_ms = Math.min(clock_ms + Math.max(0, stamp - tickedAt) * speed, (facts.next_ms ?? facts.now_ms) + FRAME_MS * speed);
    tickedAt = stamp;
    if (!isBusy && facts.next_ms !== null && facts.next_ms <= clock_ms) ask({ do: "run", until_ms: Math.floor(clock_ms) });
    else show();
  }
  requestAnimationFrame(frame);
}

const zoom = (factor) => { view.span = Math.max(LEAST_SPAN_S, Math.min(MOST_SPAN_S, view.span * factor)); show(); };
const pan = (share) => { view.pan = Math.min(0, view.pan + share * view.span); show(); };

function keys(event) {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const order = { " ": () => play(!isPlaying), s: () => move({ do: "step" }), n: () => move({ do: "notable" }), b: () => move({ do: "back" }),
    ArrowLeft: () => pan(-0.25), ArrowRight: () => pan(0.25), "+": () => zoom(0.5), "-": () => zoom(2) }[event.key];
  if (!order || (event.key === " " && event.target.matches("button"))) return;
  event.preventDefault(); order();
}

function newRun() {
  const names = Array.from({ length: Number($("size").value) }, (_, index) => `s${index + 1}`);
  const bug = $("bugs").value ? [`bug%20${$("bugs").value}`] : [];
  const before = $("before").value.split(";").map((line) => line.trim()).filter(Boolean).map((line) => encodeURIComponent(`before ${line}`));
  return openRun([`seed%20${$("seed").value.trim() || "1"}`, `nodes%20${names.join("%20")}`, ...bug, ...before].join(";"));
}

function wire() {
  $("speed").append(...SPEEDS.map(([text, value]) => element("option", text, { value })));
  $("speed").value = String(speed);
  $("speed").addEventListener("change", () => { speed = Number($("speed").value); });
  $("play").addEventListener("click", () => play(!isPlaying));
  for (const name of ["step", "notable", "back"]) $(name).addEventListener("click", () => move({ do: name }));
  $("closer").addEventListener("click", () => zoom(0.5));
  $("wider").addEventListener("click", () => zoom(2));
  $("pulses").addEventListener("change", () => { view.pulses = $("pulses").checked; events.last = ""; show(); });
  $("anew").addEventListener("click", newRun);
  $("bugs").append(...Array.from({ length: BUGS }, (_, index) => element("option", `bug ${index + 1}`, { value: index + 1 })));
  $("bugs").addEventListener("change", newRun);
  $("stories").addEventListener("change", () => ($("stories").value ? openRun(`story=${$("stories").value}`) : newRun()));
  $("core").addEventListener("click", () => editCore("your raft.py of lab 7; empty: the core of raftline"));
  $("heal").addEventListener("click", () => act("heal"));
  $("share").addEventListener("click", async () => { writeAddress(); try { await navigator.clipboard.writeText(location.href); say("the address is copied"); } catch { say("the address is in the address bar"); } });
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("line").value.trim();
    if (text) act(`${$("target").value} <- ${text.includes("@") ? text : `client1@${text}`}`);
    $("line").value = "";
  });
  $("diagram").addEventListener("click", (event) => { const found = diagram.hit(event.offsetX, event.offsetY); if (found) { play(false); choose(found); show(); } });
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => openRun(location.hash.slice(1)));
  window.addEventListener("resize", show);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
}

async function begin() {
  $("link").textContent = "Loading CPython …";
  $("bar").hidden = false;
  $("bar").removeAttribute("value");
  try {
    if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly");
    await remote.open({ sources: here("sources.zip"), python: here("pyodide/"), cdn: CDN },
      (bytes) => { $("link").textContent = `Loading CPython and raftline: ${(bytes / MB).toFixed(1)} MB`; });
  } catch (error) {
    $("bar").hidden = true;
    $("link").textContent = `The lab does not start: ${error.message.trim().split("\n").pop()}.`;
    return;
  }
  $("bar").hidden = $("runs").hidden = true;
  document.querySelector("main").hidden = false;
  $("link").textContent = "real nodes, in virtual time";
  const { stories } = await remote.ask({ do: "list" });
  $("stories").append(...stories.map(([name, title]) => element("option", title, { value: name })));
  wire();
  await openRun(location.hash.slice(1));
  document.body.dataset.ready = "yes";
  requestAnimationFrame(frame);
}

begin();
