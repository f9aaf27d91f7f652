// The page: its clock, its keys, and what it hears.
import { Model } from "./model.js";
import { Diagram } from "./diagram.js";
import { Cards, element } from "./cards.js";
import { Details } from "./details.js";
import { Events } from "./events.js";

const $ = (id) => document.getElementById(id);
const LAG_S = 0.25, REFRESH_MS = 150;
const model = new Model();
const view = { end: 0, span: 4, live: true, paused: false, speed: 1, pulses: false, chosen: null };
let facts = { members: [], controller: false, processes: false };
let ahead = null;  // how far the page's clock is behind the time of the picture
let shownAt = 0, drawnAt = 0, rest = REFRESH_MS;

const choose = (what) => { view.chosen = what; details.show(what); };
const diagram = new Diagram($("diagram"), model, view);
const cards = new Cards($("nodes"), model, order);
const details = new Details($("details"), model, choose);
const events = new Events($("list"), $("news"), model, choose);

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
    cards.show(view.end, facts);
    events.show(view.end, view);
    const thin = [];
    if (diagram.thin) thin.push(`${diagram.thin} arrows left out at this zoom`);
    if (model.leftOut) thin.push(`${model.leftOut} steps and messages left out in all: too many to show`);
    $("thin").textContent = thin.join("; ");
    rest = Math.max(REFRESH_MS, 8 * (performance.now() - began));  // a slow machine shows text less often
  }
  requestAnimationFrame(frame);
}

function pause(wanted) {
  view.paused = wanted;
  if (!wanted && view.speed !== 1) view.live = false;
  $("pause").setAttribute("aria-pressed", String(wanted));
  $("pause").textContent = wanted ? "Go on" : "Pause";
}

function goTo(end) { view.live = false; view.end = Math.max(0.1, Math.min(end, now() - LAG_S)); shownAt = 0; }
function shift(share) { goTo(view.end + share * view.span); }
function zoom(factor) {
  const middle = view.end - view.span / 2;
  view.span = Math.max(0.005, Math.min(120, view.span * factor));
  if (!view.live) goTo(middle + view.span / 2);
}

function jump(forward) {
  let at = forward ? view.end - view.span : view.end;  // unless what is chosen is in sight
  if (view.chosen && view.chosen.k === "step") {
    const chosen = model.time(view.chosen.node, view.chosen.at);
    if (chosen <= view.end && chosen >= view.end - view.span) at = chosen;
  }
  const step = model.find($("jump").value, at, forward);
  if (!step) { $("news").textContent = `no ${forward ? "later" : "earlier"} ${$("jump").value} is kept`; return; }
  pause(true); choose(step); goTo(model.time(step.node, step.at) + view.span / 2);
}

function say(node, line, answer) {
  const item = element("li");
  item.append(element("span", `${node} ◂ ${line}`), element("code", answer));
  $("answers").prepend(item);
  while ($("answers").children.length > 50) $("answers").lastChild.remove();
}

async function post(path, body) {
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
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

// Lanes, cards and the choice of the prompt for nodes that join later, too.
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

function listen() {
  const source = new EventSource("/events");
  source.onopen = () => { $("link").textContent = "connected"; model.clear(); ahead = null; };
  source.onerror = () => { $("link").textContent = "the server of this page does not answer; trying again"; };
  source.onmessage = (event) => take(JSON.parse(event.data));
}

function keys(event) {
  if (event.target.matches("input, select, textarea")) return;
  const act = { " ": () => pause(!view.paused), ArrowLeft: () => shift(-0.25), ArrowRight: () => shift(0.25),
    "+": () => zoom(0.5), "-": () => zoom(2), l: () => $("live").click(), n: () => jump(true), p: () => jump(false) }[event.key];
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
  $("form").addEventListener("submit", typed);
  $("diagram").addEventListener("click", (event) => { const found = diagram.hit(event.offsetX, event.offsetY); if (found) { choose(found); $("details").scrollIntoView({ block: "nearest" }); } });
  document.addEventListener("keydown", keys);
}

async function begin() {
  wire();
  const saved = $("saved");
  if (saved) {
    const data = JSON.parse(saved.textContent);
    facts.members = model.members = data.members;
    model.take(data);
    $("link").textContent = data.title; $("prompt").hidden = true;
    view.pulses = false; pause(true); view.live = false;
    view.span = Math.max(0.05, Math.min(10, model.newest)); view.end = model.newest + 0.05;
    ahead = model.newest + 1 - performance.now() / 1000;
  } else {
    facts = await (await fetch("/facts")).json();
    offer(facts.members);
    listen();
  }
  requestAnimationFrame(frame);
}

begin();
