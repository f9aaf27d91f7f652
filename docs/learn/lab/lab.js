// The page of the lab. It sends what the reader asks for to the worker, and draws the facts that come
// back; extensions/picture/harness/lab/page.py has the requests. This module owns the time of
// the page: the moment `view.at`, which the stage, the logs and the panel show.
import { Diagram } from "../../../extensions/picture/view/static/diagram.js";
import { Events } from "../../../extensions/picture/view/static/events.js";
import { Logs } from "../../../extensions/picture/view/static/logs.js";
import { element } from "../../../extensions/picture/view/static/cards.js";
import { Card } from "./card.js";
import { Drawer } from "./drawer.js";
import { key, legend } from "./glyphs.js";
import { Known, telling } from "./known.js";
import { Pace } from "./pace.js";
import { Panel } from "./panel.js";
import { Remote } from "./remote.js";
import { Stage } from "./stage.js";
import { Tale, firstIn } from "./tale.js";
import { TimeLine } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const here = (path) => new URL(path, import.meta.url).href;
const CDN = "https://cdn.jsdelivr.net/npm/pyodide@314.0.7/";
const SPEEDS = [["auto", 0], ["1/100", 0.01], ["1/20", 0.05], ["1/5", 0.2], ["1", 1], ["5", 5], ["20", 20]];
const OWN_CORE = ["your raft.py", "The nodes of this run have the core of your own raft.py."];
const FORGED = ["edited by hand", "A file, a message or a clock of this run was set by hand, so only the rules that no forger can break are checked."];
const LEAST_SPAN_S = 0.02, MOST_SPAN_S = 20, EDGE = 0.04, MB = 1048576, BUGS = 24, ADDRESS_MS = 250, FRAME_MS = 100, PRESSES_MAX = 500, NODES_MAX = 7, AHEAD_MS = 60;
const FREE = "seed%201;nodes%20s1%20s2%20s3%20s4%20s5";  // the run that "Free run" opens

const known = new Known();
const view = { at: 0, end: 0, span: 0.5, pulses: true, chosen: null, shown: 0, failed: null, marked: false, pan: 0, isLanes: false };
let facts = { members: [], nodes: {}, flights: [], cuts: [], moment: [0, 0], now_ms: 0, next_ms: null };
let isPlaying = false, isBusy = false, isLive = false, isDirty = true, glide = null, drawnAt = 0, addressTimer = 0, core = "", waiting = "", first = null;
let presses = [];  // the moments before each press, for Back
let dragged = null;  // the moment before the reader began to drag the time line
const remote = new Remote(here("worker.js"));

// --- what the parts of the page ask for ---------------------------------------------------------

const lab = {
  get facts() { return facts; }, get at() { return view.at; }, known,
  act: (text) => act(text), editLog, judge: async (choice) => Boolean((await ask({ do: "judge", choice })).happened),
  leader: () => facts.members.find((node) => { const one = known.at(node, view.at); return one && !one.gone && one.state.role === "leader"; }),
  flightOf: ({ from, to, line, arrived, lost }) => (arrived === null && !lost && isAtEnd() ? facts.flights.find((one) => one.from === from && one.to === to && one.line === line) : null),
  goOn: () => playFromHere(), goToStart: () => go(0), openStory: (name) => openRun(`story=${name}`), openFree: () => openRun(FREE), openFirst: () => openFirst(),
};
const card = new Card($("card"), lab);
const stage = new Stage($("stage"), known, (kind, what, target) => { play(false); finishGlide(); card.open(kind, what, target); });
const panel = new Panel($("panel"), $("news"), known);
const timeLine = new TimeLine($("when"), $("marks"), known, { look, go: (ms) => go(ms) });
const pace = new Pace(known);
const drawer = new Drawer(lab);
const tale = new Tale($("tale"), $("stories"), lab);
const diagram = new Diagram($("diagram"), known, view);
const logs = new Logs($("logs"), known);
const events = new Events($("list"), $("heard"), known, (step) => { play(false); finishGlide(); choose(step); });
window.lab = { ask: (request) => remote.ask(request), open: (address) => openRun(address), memory: () => remote.memory(), now: () => ({ at: view.at, ms: known.ms(view.at), isLive, isPlaying, waits, isStill: !isPlaying && !glide && !isBusy && !waits && !isDirty }) };  // for the console of the browser, and tests

async function ask(request) {
  isBusy = true;
  const answer = await remote.ask(request);
  isBusy = false;
  if (answer.crash) { $("link").textContent = `The program ended: ${answer.crash.trim().split("\n").pop()}`; play(false); return answer; }
  take(answer, request);
  return answer;
}

// --- what the reader asks for -------------------------------------------------------------------

// Whether the moment that is shown is the present of the run.
function isAtEnd() { return view.at >= Math.max(known.newest, known.seconds(facts.now_ms)) - 0.0005; }

// A moment of the recorded run is a time alone.
function remember() { drawer.hush(); presses.push({ at: view.at, moment: isLive ? facts.moment : null }); if (presses.length > PRESSES_MAX) presses.shift(); }

// What the reader asks for happens in turn, however fast the presses are.
let turn = Promise.resolve(), waits = 0;
const inTurn = (work) => { waits += 1; turn = turn.then(work, work).finally(() => { waits -= 1; }); return turn; };
const act = (text) => inTurn(() => doAct(text));
const move = (kind) => inTurn(() => doMove(kind));
const go = (ms) => inTurn(() => doGo(ms));
const openRun = (address) => inTurn(() => doOpen(address));
const openFirst = (ms = 0) => inTurn(() => doOpenFirst(ms));

async function doAct(text) {
  play(false); finishGlide();
  if (isLoading()) return;
  await goToShown();
  remember();
  view.chosen = null;
  const answer = await ask({ do: "act", act: text });
  if (answer.problem) presses.pop();
  glideTo(newest());
}

function isLoading() { if (!isLive) drawer.say("CPython is still loading: acts work in a moment."); return !isLive; }

const newest = () => Math.max(known.newest, known.seconds(facts.now_ms));

async function doMove(kind) {
  play(false); finishGlide();
  if (!facts.members.length && isLoading()) return;
  if (kind === "back") { await back(); return; }
  view.chosen = null;
  const end = known.seconds(tale.end_ms);
  if (view.at >= end - 0.0005) {
    drawer.say(tale.hasEnded ? "The story ends here. Play runs on." : "This step of the story ends here: go on beside the stage.");
    $("chapter")?.focus();
    return;
  }
  await goToShown();
  remember();
  if (!await forward(kind, end)) drawer.say(Number.isFinite(end) ? "Nothing more happens until the end of the story." : "Nothing but heartbeats for a while.");
}

// Lets the world be at the moment that is shown.
async function goToShown() { if (isLive && !isAtEnd()) await goTo(known.ms(view.at)); }

// Goes to the next decision, by this time at most; returns whether there was one, or the program has ended.
async function forward(kind, end) {
  if (!isLive) { glideTo(Math.min(end, known.newest, known.nextTold(view.at))); return true; }
  const mark = known.mark(), until = Number.isFinite(end) ? { until_ms: known.ms(end) } : {};
  const answer = await ask({ do: kind, ...until });
  if (answer.crash) return true;
  glideTo(answer.happened || !Number.isFinite(end) ? newest() : end, answer.happened ? known.tellingSince(mark) : null);
  return answer.happened || Boolean(facts.broken);
}

// Undoes the last press.
async function back() {
  const last = presses.pop();
  view.chosen = null; drawer.hush();
  if (last && !isLive) { view.at = last.at; isDirty = true; return; }
  if (!isLive) return;
  const answer = await ask(!last ? { do: "back" } : last.moment ? { do: "show", moment: last.moment } : { do: "at", ms: known.ms(last.at) });
  if (!last && !answer.happened) drawer.say("This is the beginning.");
  view.at = last ? last.at : newest();
  panel.forget(); isDirty = true;
}

// Shows a moment that is known, while the reader drags the time line.
function look(ms) {
  play(false); finishGlide();
  view.chosen = null; drawer.hush();
  dragged ||= { at: view.at, moment: isLive ? facts.moment : null };
  const wanted = known.seconds(ms);
  view.at = Math.max(0, Math.min(wanted, newest()));
  isDirty = true;
  if (isLive && wanted > newest() && !isBusy) ask({ do: "run", until_ms: ms });
}

async function doGo(ms) {
  play(false); finishGlide();
  if (dragged) presses.push(dragged); else remember();
  dragged = null;
  if (!isLive) { view.at = Math.max(0, Math.min(known.seconds(ms), known.newest)); isDirty = true; return; }
  await goTo(ms);
}

async function goTo(ms) {
  await ask({ do: "at", ms });
  view.at = Math.max(newest(), Math.min(known.seconds(ms), facts.next_ms === null || facts.broken ? 0 : known.seconds(facts.next_ms)));
  view.chosen = null; isDirty = true;
}

function play(wanted) {
  if (wanted && !isPlaying) { finishGlide(); remember(); view.chosen = null; view.pan = 0; pace.restUntil = 0; if (tale.hasEnded && known.ms(view.at) >= tale.end_ms) isBeyond = true; }
  isPlaying = wanted && !facts.broken;
  $("play").setAttribute("aria-pressed", String(isPlaying));
  $("play").textContent = isPlaying ? "❚❚ Pause" : "▶ Play";
  isDirty = true;
  if (!isPlaying) keepAddress();
}

// Plays what the story beside the stage tells of; who wants no motion reads that first.
function playFromHere() {
  play(true);
  if (!isStill()) return;
  tale.show(known.ms(view.at));
  pace.read($("tale").textContent);
}

let isBeyond = false;  // whether the reader plays on after the end of a story

const playEnd = () => (isBeyond ? Infinity : known.seconds(tale.end_ms));

// A browser bounds how often an address may change.
function keepAddress() { clearTimeout(addressTimer); addressTimer = setTimeout(writeAddress, ADDRESS_MS); }

function writeAddress() {
  if (!isLive) return;
  const address = waiting || tale.addressOf(facts, known.ms(view.at));
  if (address !== undefined) history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
}

// A schedule of the grader waits for the hand-in.
async function doOpen(address) {
  if (isLoading()) return;
  waiting = !core.trim() && address.startsWith("grade=") ? address : "";
  if (waiting) {
    editCore("the raft.py of the hand-in that this schedule is for");
    if (facts.members.length) return;
    address = "";
  }
  const ms = address && firstIn(address);
  if (ms) { await doOpenFirst(Number(ms)); return; }
  tale.leaveFirst();
  begin();
  await ask({ do: "open", address });
  view.at = newest(); isDirty = true;
  keepAddress();
}

// The address that a reader asked for while CPython was loading. That of the event counts, since the
// page may have written its own address meanwhile.
let asked = null;
function openAsked(address) { if (isLive) openRun(address); else asked = address; }

function begin() { play(false); glide = null; view.chosen = null; view.pan = 0; view.at = 0; presses = []; isBeyond = false; drawer.clear(); }

// The first story is a recorded run, which becomes the living one.
async function doOpenFirst(ms) {
  begin();
  const at_ms = Math.max(first.from_ms, Math.min(ms, first.chapters.at(-1).until_ms));
  tale.startFirst(first, at_ms);
  if (!isLive) take(structuredClone(first.facts), {});
  else { await ask({ do: "open", address: first.address }); if (at_ms > first.from_ms) await ask({ do: "at", ms: at_ms }); }
  view.at = known.seconds(at_ms); isDirty = true;
  keepAddress();
}

// The world goes to the moment that is shown before the page takes its facts, so that nothing jumps.
async function becomeLive() {
  const opened = await remote.ask({ do: "open", address: first.address });
  const now = await remote.ask({ do: "at", ms: known.ms(view.at) + (isPlaying && !isStill() ? AHEAD_MS : 0) });
  isLive = true;
  take({ ...now, anew: true, events: [...opened.events, ...now.events], acts: [...opened.acts, ...now.acts], replies: [...opened.replies, ...now.replies] }, {});
}

function choose(what) { view.chosen = what; isDirty = true; }

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

function editLog(node) { edit(`${node}.log`, facts.nodes[node].files[`${node}.log`] || "", (text) => act(`edit ${node} ${JSON.stringify(text)}`)); }
function editCore(title) { edit(title, core, (source) => inTurn(() => useCore(source))); }

// The nodes of later runs have this core; an empty text stands for raftline's own.
async function useCore(source) {
  if (isLoading()) return;
  core = source;
  $("bugs").disabled = Boolean(source.trim());
  $("link").textContent = source.trim() ? "your raft.py, in virtual time" : "real nodes, in virtual time";
  tale.leaveFirst(); begin();
  const answer = await ask({ do: "core", source });
  await doOpen(!source.trim() || !waiting || answer.broken ? newAddress() : waiting);
}

function newRun() { return openRun(newAddress()); }

function newAddress() {
  const names = Array.from({ length: Number($("size").value) }, (_, index) => `s${index + 1}`);
  const bug = $("bugs").value && !core.trim() ? [`bug%20${$("bugs").value}`] : [];
  const before = $("before").value.split(";").map((line) => line.trim()).filter(Boolean).map((line) => encodeURIComponent(`before ${line}`));
  return [`seed%20${$("seed").value.trim() || "1"}`, `nodes%20${names.join("%20")}`, ...bug, ...before].join(";");
}

// --- what comes back ----------------------------------------------------------------------------

function take(answer, request) {
  const { problem, ...now } = answer, hadNodes = facts.members.join();
  if (now.anew) { view.chosen = null; events.last = ""; events.said = 0; panel.forget(); known.members = []; }
  facts = now;
  for (const name of now.members) if (!known.members.includes(name)) known.members.push(name);
  known.take(now);
  stage.take(now);
  for (const text of now.answers) drawer.say(text, now.replies.some((reply) => reply.text === text));
  if (problem || now.refused) drawer.say(`✗ ${problem || now.refused}`);
  if (now.members.join() !== hadNodes || now.anew) drawer.rebuild(now.members);
  if (now.anew) drawer.showRun(now.address, now.members, core);
  document.body.classList.toggle("many", now.members.length > 4);
  $("broken").hidden = !now.broken;
  $("broken").querySelector("span").textContent = now.broken + verdictOnActs(now);
  if (now.broken && isPlaying) play(false);
  mark([...core.trim() ? [OWN_CORE] : [], ...now.forged ? [FORGED] : []]);
  tale.take(now, request.do !== "open");
  timeLine.take(now);
  drawer.show();
  if (!isPlaying) keepAddress();
  isDirty = true;
}

// Says beside the name of the run what a reader has put into it; a screen reader gets the sentence.
function mark(marks) {
  const words = marks.map(([short]) => short).join();
  if ($("mark").dataset.words === words) return;
  $("mark").dataset.words = words;
  $("mark").replaceChildren(...marks.flatMap(([short, sentence]) => [element("span", short, { title: sentence, "aria-hidden": "true" }), element("span", sentence, { class: "unseen" })]));
}

// How short the way to a bug could be.
function verdictOnActs({ fewest_acts: fewest, moment: [, acts] }) {
  if (fewest === undefined) return "";
  const counted = (count) => (count === 1 ? "1 act" : `${count} acts`);
  return `. You found the bug with ${counted(acts)}; the shortest way known has ${counted(fewest)}.`;
}

// --- time ---------------------------------------------------------------------------------------

const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function glideTo(time, step = null) {
  const from = view.at;
  if (time <= from || isStill()) { view.at = time; glide = null; view.chosen = step && telling([step]) && known.decision(time) !== step ? step : null; isDirty = true; return; }
  glide = { from, to: time, ms: pace.glideMs(time - from), began: performance.now(), step };
  isDirty = true;
}

function finishGlide() {
  if (!glide) return;
  view.at = glide.to;
  if (glide.step && known.decision(view.at) !== glide.step) view.chosen = glide.step;
  glide = null; isDirty = true;
}

function frame(stamp) {
  const elapsed_ms = Math.min(FRAME_MS, Math.max(0, stamp - drawnAt));
  drawnAt = stamp;
  if (glide) {
    const share = Math.min(1, (performance.now() - glide.began) / glide.ms);
    if (share < 1) view.at = glide.from + (glide.to - glide.from) * share; else finishGlide();
    isDirty = true;
  } else if (isPlaying) { if (isStill()) stepOn(stamp); else advance(stamp, elapsed_ms); }
  if (isDirty) { isDirty = false; show(stamp); }
  requestAnimationFrame(frame);
}

// Lets the clock of the page run; it waits for the worker where nothing is known yet.
function advance(stamp, elapsed_ms) {
  const end = playEnd(), wanted = Math.min(end, view.at + pace.passed(view.at, stamp, elapsed_ms));
  const horizon = isLive ? (facts.next_ms === null ? Infinity : known.seconds(facts.next_ms)) : known.newest;
  if (wanted >= horizon && isLive && !isBusy) ask({ do: "run", until_ms: Math.max(facts.next_ms, Math.floor(known.ms(wanted))) });
  view.at = Math.max(view.at, Math.min(wanted, Math.max(horizon, known.newest)));
  if (view.at >= end || (!isLive && view.at >= horizon)) play(false);
  isDirty = true;
}

// For a reader who wants no motion, Play goes from decision to decision, and leaves time to read each of them.
function stepOn(stamp) {
  if (waits || stamp < pace.restUntil) return;
  inTurn(async () => {
    if (!isPlaying) return;
    const end = playEnd(), from = view.at;
    view.chosen = null;
    if (from < end - 0.0005) { await goToShown(); await forward("notable", end); }
    if (view.at >= end - 0.0005 || (isLive ? facts.next_ms === null : view.at >= known.newest)) play(false);
    show(performance.now());
    pace.read($("panel").textContent, view.at - from);
  });
}

function show(stamp) {
  if (!facts.members.length) return;
  view.end = Math.max(LEAST_SPAN_S, view.at + view.span * EDGE + view.pan);
  view.shown = view.at; view.marked = Boolean(view.chosen);
  const step = view.chosen && view.chosen.k === "message" ? known.byId.get(view.chosen.by) : view.chosen;
  const time = step ? known.timeOf(step) : view.at;
  const what = panel.show(time, step, isPlaying && !isStill());
  if (isPlaying) pace.crossed(what, stamp);
  if (view.isLanes) diagram.draw(view.at); else stage.show(view.at, facts.members, what && what.k === "step" ? what : null);
  showLogs(time, step || (what && what.k === "step" ? what : null));
  timeLine.show(view.at);
  tale.show(known.ms(view.at));
  drawer.showTold(view.at);
  if (drawer.isOpen) events.show(view.at, view);
  const clock = `${Math.max(0, known.ms(view.at))} ms`;
  if ($("clock").textContent !== clock) $("clock").textContent = clock;
}

// The logs are drawn only where a node's state, or the step that is explained, is another one.
let logged = [];
function showLogs(time, step) {
  const now = [step, known.changes, ...facts.members.map((node) => known.at(node, time))];
  if (now.length === logged.length && now.every((one, place) => one === logged[place])) return;
  logged = now;
  logs.show(time, facts.members, step);
}

// --- the page -----------------------------------------------------------------------------------

const zoom = (factor) => { view.span = Math.max(LEAST_SPAN_S, Math.min(MOST_SPAN_S, view.span * factor)); isDirty = true; };
const pan = (share) => { view.pan = Math.min(0, view.pan + share * view.span); isDirty = true; };

function keys(event) {
  if (event.target.matches("input:not([type=range]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const lanes = view.isLanes ? { ArrowLeft: () => pan(-0.25), ArrowRight: () => pan(0.25), "+": () => zoom(0.5), "-": () => zoom(2) } : {};
  const order = { " ": () => play(!isPlaying), s: () => move("step"), n: () => move("notable"), b: () => move("back"), "?": () => drawer.help(), ...event.target.matches("[type=range]") ? {} : lanes }[event.key];
  if (!order || (event.key === " " && event.target.matches("button, [role=button], summary"))) return;
  event.preventDefault(); order();
}

function showLanes(wanted) {
  view.isLanes = wanted;
  $("stage-box").hidden = wanted; $("lanes").hidden = !wanted;
  for (const [id, pressed] of [["as-stage", !wanted], ["as-lanes", wanted]]) $(id).setAttribute("aria-pressed", String(pressed));
  stage.resize(); isDirty = true;
}

// The arrow keys go from cell to cell of the logs, and Enter tells what is there, like a click.
function keysOfLogs(event) {
  const [right, down] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key] || [0, 0];
  if (event.key === "Enter" || event.key === " ") { openEntry(event); return; }
  if (!right && !down) return;
  const rows = [...$("logs").querySelectorAll("tr[data-node]")], cell = event.target.closest("td");
  const [x, y] = cell ? [cell.cellIndex + right, rows.indexOf(cell.parentElement) + down] : [1, 0], next = rows[y]?.cells[x];
  if (!next || next.tagName !== "TD") return;
  next.tabIndex = -1; next.focus();
  event.preventDefault(); event.stopPropagation();
}

// A click on a cell of the logs tells what is there.
function openEntry(event) {
  const cell = event.target.closest("td.entry"), row = cell && cell.closest("tr");
  if (!cell) return;
  event.preventDefault(); event.stopPropagation();
  play(false); finishGlide();
  card.open("entry", { node: row.dataset.node, words: cell.title }, cell);
}

function wire() {
  $("speed").append(...SPEEDS.map(([text, value]) => element("option", text, { value })));
  $("speed").addEventListener("change", () => { pace.fixed = Number($("speed").value); });
  $("play").addEventListener("click", () => play(!isPlaying));
  for (const name of ["step", "notable", "back"]) $(name).addEventListener("click", () => move(name));
  $("as-stage").addEventListener("click", () => showLanes(false));
  $("as-lanes").addEventListener("click", () => showLanes(true));
  $("closer").addEventListener("click", () => zoom(0.5));
  $("wider").addEventListener("click", () => zoom(2));
  $("pulses").addEventListener("change", () => { view.pulses = $("pulses").checked; events.last = ""; isDirty = true; });
  $("size").append(...Array.from({ length: NODES_MAX }, (_, index) => element("option", `${index + 1}`)));
  $("size").value = "3";
  $("anew").addEventListener("click", newRun);
  $("bugs").append(...Array.from({ length: BUGS }, (_, index) => element("option", `bug ${index + 1}`, { value: index + 1 })));
  $("bugs").addEventListener("change", newRun);
  $("core").addEventListener("click", () => editCore("your raft.py of lab 7; empty: the core of raftline"));
  for (const one of document.querySelectorAll(".share")) one.addEventListener("click", async () => { writeAddress(); try { await navigator.clipboard.writeText(location.href); drawer.say("The address is copied."); } catch { drawer.say("The address is in the address bar."); } });
  $("diagram").addEventListener("click", (event) => {
    const found = diagram.hit(event.offsetX, event.offsetY);
    if (!found) return;
    play(false); choose(found);
    if (found.k === "message") card.open("message", found, { getBoundingClientRect: () => new DOMRect(event.clientX, event.clientY, 0, 0), focus() {} });
  });
  $("logs").addEventListener("click", openEntry);
  $("logs").addEventListener("keydown", keysOfLogs);
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", ({ newURL }) => openAsked(new URL(newURL).hash.slice(1)));
  new ResizeObserver(() => { stage.resize(); isDirty = true; }).observe($("stage"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { isDirty = true; });
  for (const name of ["legend", "help-legend"]) legend($(name));
  for (const name of ["key", "help-key"]) key($(name));
}

async function start() {
  $("link").textContent = "Loading CPython …";
  $("bar").hidden = false;
  $("bar").removeAttribute("value");
  document.querySelector("main").hidden = false; $("without").hidden = true;
  wire();
  first = await (await fetch(here("first.json"))).json();
  requestAnimationFrame(frame);
  const ms = firstIn(location.hash.slice(1));
  if (ms !== null) { await openFirst(Number(ms)); if (!ms) playFromHere(); }
  else $("panel").replaceChildren(element("p", "This run begins as soon as CPython is loaded.", { class: "said" }));
  document.body.dataset.shown = "yes";
  try {
    if (typeof WebAssembly !== "object") throw new Error("this browser has no WebAssembly");
    await remote.open({ sources: here("sources.zip"), python: here("pyodide/"), cdn: CDN },
      (bytes) => { $("link").textContent = `Loading CPython and raftline: ${(bytes / MB).toFixed(1)} MB`; });
  } catch (error) {
    $("bar").hidden = true; $("without").hidden = false;
    $("link").textContent = `The lab does not start: ${error.message.trim().split("\n").pop()}.`;
    if (!tale.first) await openFirst();
    return;
  }
  $("bar").hidden = true;
  $("link").textContent = "real nodes, in virtual time";
  document.body.dataset.live = "yes";
  const { stories } = await remote.ask({ do: "list" });
  tale.setTitles(stories);
  if (tale.first) await inTurn(becomeLive); else { isLive = true; await openRun(location.hash.slice(1)); }
  if (asked !== null) await openRun(asked);
  document.body.dataset.ready = "yes";
}

start();
