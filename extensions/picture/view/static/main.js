// The page: its clock, its keys, and the events from the server.
import { Model } from "./model.js";
import { Diagram } from "./diagram.js";
import { Cards, element } from "./cards.js";
import { Logs } from "./logs.js";
import { Details } from "./details.js";
import { Events } from "./events.js";
import { Story } from "./story.js";

const $ = (id) => document.getElementById(id);
const LAG_S = 0.25, REFRESH_MS = 150, RETRY_MS = 2000, QUIET_S = 5, LEAST_SPAN_S = 0.004, BEFORE_S = 0.03;  // shown before a failure
const model = new Model();
const view = { end: 0, span: 4, live: true, paused: false, speed: 1, pulses: false, chosen: null, shown: 0, failed: null };
const key = new URLSearchParams(location.hash.slice(1)).get("key") || "";  // it is never sent to another port of this machine
let facts = { members: [], controller: false, processes: false };
let ahead = null;  // how far the page's clock is behind the time of the picture
let isAimed = false;  // whether the user chose the node of the prompt
let shownAt = 0, drawnAt = 0, rest = REFRESH_MS;

const choose = (what) => { view.chosen = what; details.show(what); pause(true); bringIntoSight(); shownAt = 0; };
const diagram = new Diagram($("diagram"), model, view);
const cards = new Cards($("nodes"), model, order);
const logs = new Logs($("logs"), model);
const details = new Details($("details"), model, choose);
const events = new Events($("list"), $("news"), model, choose);
const story = new Story($("story"), model, (from, until) => { view.chosen = null; details.show(null); stretch(from, until); });

function now() { return ahead === null ? model.newest : performance.now() / 1000 + ahead; }

function frame(stamp) {
  const passed = Math.min(0.2, (stamp - drawnAt) / 1000);
  drawnAt = stamp;
  if (!view.paused) {
    if (view.live) view.end = now() - LAG_S;
    else view.end = Math.min(now() - LAG_S, view.end + passed * view.speed);
  }
  diagram.draw(now());
  if (stamp - shownAt > rest) {
    shownAt = stamp;
    const began = performance.now();
    view.shown = moment();
    cards.show(view.shown, facts);
    logs.show(view.shown, facts.members, view.paused ? stepOf(view.chosen) : null);
    view.marked = view.paused && view.shown < view.end;
    $("moment").textContent = `as of ${view.shown.toFixed(3)} s${view.marked ? ": the dotted line" : ""}`;
    $("hint").hidden = !isQuiet();
    aimAtLeader();
    events.show(view.end, view);
    const thin = [];
    if (diagram.thin) thin.push(`${diagram.thin} arrows omitted at this zoom`);
    if (model.leftOut) thin.push(`${model.leftOut} steps and messages omitted in all: too many to show`);
    $("thin").textContent = thin.join("; ");
    rest = Math.max(REFRESH_MS, 8 * (performance.now() - began));  // a slow machine updates the text less often
  }
  requestAnimationFrame(frame);
}

// The selected step, or the step that received the selected message.
function stepOf(chosen) { return chosen && chosen.k === "message" ? model.byId.get(chosen.by) : chosen; }

// The time of the selected item, or null without one.
function timeOfChosen() {
  const step = stepOf(view.chosen), sent = view.chosen && view.chosen.k === "message" ? view.chosen : null;
  return step ? model.time(step.node, step.at) : sent ? model.time(sent.from, sent.at) : null;
}

function isInSight(at) { return at < view.end && at >= view.end - view.span; }

// The list reaches further back than the picture, and a message may be received after the picture's end.
function bringIntoSight() {
  const at = timeOfChosen();
  if (at === null || isInSight(at)) return;
  view.live = false; view.end = at + view.span / 8;
}

// The moment that the cards and the logs show: the time of the selected item, or the end of the picture.
function moment() {
  const at = view.paused ? timeOfChosen() : null;
  return at !== null && isInSight(at) ? at : model.whole(view.end);
}

// Whether there were only heartbeats for a while, on a page that can give orders.
function isQuiet() {
  if ($("saved")) return false;
  const last = model.upTo(view.end, "", false, 1)[0];
  return view.live && (!last || view.end - model.time(last.node, last.at) > QUIET_S);
}

// A line goes to the leader, unless the user chose a node.
function aimAtLeader() {
  const leader = facts.members.find((node) => { const one = model.at(node, view.shown); return one && !one.gone && one.state && one.state.role === "leader"; });
  if (leader && !isAimed && document.activeElement !== $("target")) $("target").value = leader;
}

function pause(wanted) {
  view.paused = wanted;
  if (!wanted && view.speed !== 1) view.live = false;
  if (!wanted) view.chosen = null;
  $("pause").setAttribute("aria-pressed", String(wanted));
  $("pause").textContent = wanted ? "Resume" : "Pause";
}

function goTo(end) { view.live = false; view.end = Math.max(0.001, Math.min(end, now() - ($("saved") ? 0 : LAG_S))); shownAt = 0; story.follow(view.end); }
function shift(share) { goTo(view.end + share * view.span); }
function zoom(factor) {
  const middle = view.end - view.span / 2;
  view.span = Math.max(0.005, Math.min(120, view.span * factor));
  if (!view.live) goTo(middle + view.span / 2);
}

function stretch(from, until) { view.span = Math.max(LEAST_SPAN_S, until - from); pause(true); goTo(until); }

function jump(forward) {
  let at = forward ? view.end - view.span : view.end;  // unless the selected item is visible
  if (view.chosen && view.chosen.k === "step") {
    const chosen = model.time(view.chosen.node, view.chosen.at);
    if (chosen <= view.end && chosen >= view.end - view.span) at = $("jump").value === "election" ? model.episode(view.chosen)[forward ? 1 : 0] : chosen;
  }
  const step = model.find($("jump").value, at, forward);
  if (!step) { $("news").textContent = `no ${forward ? "later" : "earlier"} ${$("jump").value} is kept`; return; }
  show(step);
}

function show(step, before = 0) {
  choose(step);
  const [from, until] = model.episode(step), edge = Math.max(LEAST_SPAN_S, until - from) / 8;
  stretch(from - edge - before, until + edge);
  story.follow(model.time(step.node, step.at));
}

// A failed run is shown at the failed step, in a frame, with the broken rule in words.
function showFailure(failure) {
  if (!failure) return;
  const part = (name) => $("failure").querySelector(`[data-part="${name}"]`);
  const step = model.byId.get(failure.step), first = model.find("broken", -1, true);
  $("failure").hidden = false; part("words").textContent = failure.words;
  part("step").hidden = !step; part("first").hidden = !first || first === step;
  part("step").addEventListener("click", () => show(step, BEFORE_S));
  part("first").addEventListener("click", () => show(first, BEFORE_S));
  if (step) { view.failed = step.id; show(step, BEFORE_S); }
}

function say(node, line, answer) {
  const item = element("li");
  item.append(element("span", `${node} ◂ ${line}`), element("code", answer));
  $("answers").prepend(item);
  while ($("answers").children.length > 50) $("answers").lastChild.remove();
}

const ask = (path, more = {}) => fetch(path, { ...more, headers: { ...more.headers, "X-Raftline-Key": key } });

async function post(path, body) {
  const response = await ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`refused (${response.status})`);
  return response.json();
}

async function order(node, what) {
  const line = what.line ? `Controller@${what.line}` : `process ${what.process}`;
  try {
    const reply = what.line ? await post("/line", { node, line }) : await post("/process", { node, what: what.process });
    say(node, line, reply.problem || reply.answer);
  } catch (error) { say(node, line, String(error.message)); }
}

async function typed(event) {
  event.preventDefault();
  const node = $("target").value, line = $("line").value;
  if (!line) return;
  $("line").value = "";
  try { const reply = await post("/line", { node, line }); say(node, line, reply.problem || reply.answer); }
  catch (error) { say(node, line, String(error.message)); }
}

// Lanes, cards and prompt choices, including nodes that join later.
function offer(names) {
  for (const name of names) {
    if (!facts.members.includes(name)) facts.members.push(name);
    if (!model.members.includes(name)) model.members.push(name);
    if (![...$("target").options].some((option) => option.value === name)) $("target").append(element("option", name, { value: name }));
  }
}

function take(batch) {
  offer(batch.members || []);
  model.take(batch);
  if (!batch.events.length) return;
  const newest = model.newest - performance.now() / 1000;
  if (ahead === null || newest > ahead || batch.anew) ahead = newest;
}

async function hear(stream) {
  $("link").textContent = "connected"; model.clear(); ahead = null;
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) take(JSON.parse(line.replace("data: ", "")));
  }
}

async function listen() {  // an EventSource can't send a header
  for (;;) {
    let problem = "the server of this page does not answer; trying again";
    try {
      const response = await ask("/events");
      if (response.ok) await hear(response.body); else problem = await response.text();
    } catch { /* it ended */ }
    $("link").textContent = problem;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function keys(event) {
  if (event.target.matches("input, select, textarea")) return;
  const act = { " ": () => pause(!view.paused), ArrowLeft: () => shift(-0.25), ArrowRight: () => shift(0.25),
    "+": () => zoom(0.5), "-": () => zoom(2), l: () => $("live").click(), n: () => story.turn(1) || jump(true), p: () => story.turn(-1) || jump(false) }[event.key];
  if (!act || event.ctrlKey || event.metaKey || (event.key === " " && event.target.matches("button"))) return;
  event.preventDefault(); act();
}

function wire() {
  $("pause").addEventListener("click", () => pause(!view.paused));
  $("live").addEventListener("click", () => { view.live = true; $("speed").value = "1"; view.speed = 1; pause(false); });
  $("back").addEventListener("click", () => shift(-0.25));
  $("forward").addEventListener("click", () => shift(0.25));
  $("closer").addEventListener("click", () => zoom(0.5));
  $("wider").addEventListener("click", () => zoom(2));
  $("speed").addEventListener("change", () => { view.speed = Number($("speed").value); view.live = view.live && view.speed === 1; pause(false); });
  $("previous").addEventListener("click", () => jump(false));
  $("next").addEventListener("click", () => jump(true));
  $("pulses").addEventListener("change", () => { view.pulses = $("pulses").checked; shownAt = 0; });
  $("target").addEventListener("change", () => { isAimed = true; });
  $("form").addEventListener("submit", typed);
  $("diagram").addEventListener("click", (event) => { const found = diagram.hit(event.offsetX, event.offsetY); if (found) { choose(found); $("details").scrollIntoView({ block: "nearest" }); } });
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", () => location.reload());  // the key was added to the address
}

async function begin() {
  wire();
  const saved = $("saved");
  if (saved) {
    const data = JSON.parse(saved.textContent);
    facts.members = model.members = data.members;
    model.take(data);
    $("link").textContent = data.title; $("form").hidden = true; $("live").hidden = $("live").disabled = true;
    view.pulses = false; pause(true); view.live = false;
    view.span = Math.max(0.05, Math.min(10, model.newest)); view.end = model.newest + 0.05;
    ahead = model.newest + 1 - performance.now() / 1000;
    story.begin(data.story || []);
    if (data.story?.length) { $("previous").textContent = "◀ Jump"; $("next").textContent = "Jump ▶"; }
    showFailure(data.failure);
  } else {
    const response = await ask("/facts");
    if (!response.ok) { $("link").textContent = await response.text(); return; }
    facts = await response.json();
    offer(facts.members);
    $("deed").textContent = facts.processes ? "Press Kill at the leader" : facts.controller ? "Press Cut off at the leader" : "End the leader's process";
    listen();
  }
  requestAnimationFrame(frame);
}

begin();
