// The stage: nodes on a ring, timers that run out, votes as dots, and messages that fly.
// Each frame is drawn from what is known of the run and a moment; nothing here keeps time.
import { hueOf } from "../../../extensions/picture/view/static/model.js";
import { glyph, kindOf, sayMessage, shape } from "./glyphs.js";
import { REPLY } from "./panel.js";

const GAP = 18, LANE = 9, FADE_S = 0.03, UNSENT_S = 0.008, WAY_S = 0.01, ALMOST = 0.97, TURN = 2 * Math.PI, ARCS = 720;
const TIMER_SPREAD = 3;  // a timer of this many times the shortest one is a whole ring
const TOP = 60, BOTTOM = 82, LEGEND = 24, NARROW = 600, LETTER = 8, LINE = 17;  // the room of role and votes, and of the legend below
const ASKED_S = 0.03, REPLIED_S = 0.06, SAID_MAX = 44;  // how long, in seconds and letters, the words of a client are shown

const round = (value) => Math.round(10 * value) / 10;

function polygon(radius, corners, inner = radius) {
  const points = [];
  for (let i = 0; i < corners * 2; i += 1) {
    const turn = TURN * i / (2 * corners) - Math.PI / 2, far = i % 2 ? inner : radius;
    points.push(`${round(far * Math.cos(turn))} ${round(far * Math.sin(turn))}`);
  }
  return `M${points.join("L")}Z`;
}

const circle = (radius) => `M${-radius} 0a${radius} ${radius} 0 1 0 ${2 * radius} 0a${radius} ${radius} 0 1 0 ${-2 * radius} 0Z`;

// The turns of nodes on a ring which is `flat` times as wide as it is high. Many nodes are equally far
// apart along it, since equal turns would crowd them at its ends.
function turnsOf(count, flat) {
  const equal = Array.from({ length: count }, (_, place) => TURN * place / count - Math.PI / 2);
  if (count <= 5) return equal;
  const turns = Array.from({ length: ARCS + 1 }, (_, i) => TURN * i / ARCS - Math.PI / 2), ways = [0];
  for (let i = 1; i <= ARCS; i += 1) ways.push(ways[i - 1] + Math.hypot(flat * (Math.cos(turns[i]) - Math.cos(turns[i - 1])), Math.sin(turns[i]) - Math.sin(turns[i - 1])));
  return equal.map((_, place) => {
    const wanted = ways[ARCS] * place / count, after = Math.max(1, ways.findIndex((way) => way >= wanted)), share = (wanted - ways[after - 1]) / (ways[after] - ways[after - 1]);
    return turns[after - 1] + share * (turns[after] - turns[after - 1]);
  });
}

// A follower is round, a candidate has corners, and a leader has rays.
function outline(role, radius) {
  if (role === "leader") return polygon(radius * 1.16, 12, radius);
  if (role.endsWith("candidate")) return polygon(radius * 1.12, 6, radius * 0.97);
  return circle(radius);
}

export class Stage {
  // `open(kind, what, target)` opens the card of a node, a link or a message.
  constructor(place, known, open) {
    this.place = place; this.known = known; this.open = open;
    this.members = ""; this.flights = new Map(); this.shown = new Map(); this.longest = new Map();
    this.layers = Object.fromEntries(["links", "said", "nodes", "labels", "messages"].map((name) => [name, shape("g", { class: name })]));
    this.layers.labels.setAttribute("aria-hidden", "true");  // each node says the same
    place.append(...Object.values(this.layers));
    for (const kind of ["click", "contextmenu"]) place.addEventListener(kind, (event) => this.choose(event, event.target));
    place.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") this.choose(event, event.target); else this.walk(event); });
  }

  // The arrow keys: right and left to another node, down and up through the links and messages of a node.
  walk(event) {
    const way = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key], at = event.target.closest("[data-node], [data-link], [data-message]");
    if (!way || !at) return;
    if (at.dataset.node) this.around = at.dataset.node;
    const node = this.nodes.get(this.around)?.group || at, things = ["ArrowRight", "ArrowLeft"].includes(event.key) ? [...this.layers.nodes.children] : [node, ...this.thingsOf(this.around)];
    const from = things.indexOf(things.includes(at) ? at : node);
    things[(from + way + things.length) % things.length].focus();
    event.preventDefault(); event.stopPropagation();
  }

  thingsOf(node) {
    const links = [...this.layers.links.children].filter((link) => link.dataset.link.split(" ").includes(node));
    return [...links, ...[...this.shown.values()].filter(({ message }) => message.from === node || message.to === node).map((one) => one.group)];
  }

  // Lays the ring out again at the next frame.
  resize() { this.members = ""; }

  choose(event, target) {
    const chosen = target.closest("[data-node], [data-link], [data-message]");
    if (!chosen) return;
    event.preventDefault(); event.stopPropagation();
    const { node, link, message } = chosen.dataset;
    if (node) this.open("node", node, chosen);
    else if (link) this.open("link", link.split(" "), chosen);
    else this.open("message", this.known.messages.get(Number(message)), chosen);
  }

  // Takes the facts of the present: who is there, and when the messages in flight are due.
  take(facts) {
    this.flights = new Map(facts.flights.map((one) => [`${one.from} ${one.to} ${one.line}`, one]));
    if (facts.anew) { this.longest.clear(); for (const { group } of this.shown.values()) group.remove(); this.shown.clear(); }
  }

  // --- the ring -----------------------------------------------------------------------------

  layOut(members) {
    const names = members.join();
    if (names === this.members) return;
    const { width, height } = this.place.getBoundingClientRect();
    if (!width) return;
    this.members = names; this.width = width;
    const held = this.place.contains(document.activeElement) ? document.activeElement.dataset : {};
    this.place.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const radius = this.radius = Math.max(20, Math.min(members.length <= 3 ? 58 : members.length <= 5 ? 48 : 38, Math.min(width, height) / (members.length <= 3 ? 9 : members.length <= 5 ? 10.5 : 12)));
    const bottom = width < NARROW ? BOTTOM - LEGEND : BOTTOM;
    const free = [width - 2 * radius - (members.length > 4 ? 36 : 70), height - 2 * radius - TOP - bottom], flattest = members.length > 5 ? 3.2 : members.length > 4 ? 2.5 : 1.75;
    const unit = turnsOf(members.length, Math.min(flattest, free[0] / free[1])).map((turn) => [members.length > 1 ? Math.cos(turn) : 0, members.length > 1 ? Math.sin(turn) : 0]);
    this.scale = Math.max(0.85, radius / 42);
    this.place.style.setProperty("--scale", this.scale);
    const [xs, ys] = [unit.map((one) => one[0]), unit.map((one) => one[1])];
    const span = (values) => Math.max(...values) - Math.min(...values) || 1, middle = (values) => (Math.max(...values) + Math.min(...values)) / 2;
    const tall = free[1] / span(ys), wide = Math.min(free[0] / span(xs), flattest * tall);
    this.spots = new Map(members.map((name, place) => [name, [
      round(width / 2 + wide * (unit[place][0] - middle(xs))), round((height + TOP - bottom) / 2 + tall * (unit[place][1] - middle(ys)))]]));
    this.middle = (height + TOP - bottom) / 2;
    this.layers.links.replaceChildren(...this.pairs(members).map((pair) => this.link(pair)));
    this.nodes = new Map(members.map((name) => [name, this.node(name)]));
    this.layers.nodes.replaceChildren(...[...this.nodes.values()].map((one) => one.group));
    this.layers.labels.replaceChildren(...[...this.nodes.values()].map((one) => one.words));
    this.cuts = "";
    if (held.node && this.nodes.has(held.node)) this.nodes.get(held.node).group.focus({ preventScroll: true });
  }

  pairs(members) { return members.flatMap((one, place) => members.slice(place + 1).map((other) => [one, other])); }

  link([one, other]) {
    const [[x1, y1], [x2, y2]] = [this.spots.get(one), this.spots.get(other)];
    const group = shape("g", { class: "link", "data-link": `${one} ${other}`, role: "button", tabindex: "-1", "aria-label": `link between ${one} and ${other}` });
    group.append(shape("line", { class: "grip", x1, y1, x2, y2 }), shape("line", { class: "wire", x1, y1, x2, y2 }),
      shape("text", { x: (x1 + x2) / 2, y: (y1 + y2) / 2, class: "cut" }));
    return group;
  }

  // Words stand on the side of a node that no link leaves: above it in the upper half, else below.
  outward(name) { return this.spots.get(name)[1] < this.middle ? -1 : 1; }

  node(name) {
    const [x, y] = this.spots.get(name), r = this.radius;
    const group = shape("g", { class: "node", "data-node": name, role: "button", tabindex: "0", transform: `translate(${x} ${y})` });
    const parts = {
      halo: shape("circle", { class: "halo", r: r + 18 }), track: shape("circle", { class: "track", r: r + 8 }),
      timer: shape("circle", { class: "timer", r: r + 8, pathLength: 1, transform: "rotate(-90)" }),
      body: shape("path", { class: "body" }), crown: shape("path", { class: "crown", d: "M-13 0-15-13-6-6 0-16 6-6 15-13 13 0Z", transform: `translate(0 ${round(-1.16 * r) - 3})` }),
    };
    const texts = { name: shape("text", { class: "name", y: -0.2 * r }, name), term: shape("text", { class: "term", y: 0.38 * r }), role: shape("text", { class: "role" }), votes: shape("g", { class: "votes", transform: `translate(0 ${this.outward(name) * (r + 24 + 20 * this.scale)})` }) };
    const words = shape("g", { transform: `translate(${x} ${y})` });
    group.append(...Object.values(parts)); words.append(...Object.values(texts));
    return { group, words, ...parts, ...texts };
  }

  // --- a frame ------------------------------------------------------------------------------

  // `chosen` is the step that the panel explains.
  show(time, members, chosen) {
    if (!members.length) return;
    this.layOut(members);
    if (!this.spots) return;
    for (const name of members) this.noteTimeout(name, time);
    this.most_ms = this.mostOf([...this.longest.values()]);
    for (const name of members) this.showNode(name, time, chosen, members.length);
    this.showLinks(time);
    this.showMessages(time, chosen);
    this.showClient(time);
  }

  showNode(name, time, chosen, members) {
    const parts = this.nodes.get(name), found = this.known.at(name, time), isPaused = this.known.isPaused(name, time);
    const isUp = Boolean(found && !found.gone), state = found && found.state;
    this.showTimer(name, parts, isUp && !isPaused ? found : null, time);
    const isChosen = Boolean(chosen && chosen.node === name);
    if (parts.found === found && parts.isPaused === isPaused && parts.isChosen === isChosen) return;
    Object.assign(parts, { found, isPaused, isChosen });
    const role = !found ? "not there" : !isUp ? "down" : state.role, term = state ? state.term : 0;
    parts.group.setAttribute("class", `node ${role}${isPaused ? " paused" : ""}${isChosen ? " chosen" : ""}`);
    parts.words.setAttribute("class", `words ${role}`);
    parts.body.setAttribute("d", outline(role, this.radius));
    parts.body.style.fill = isUp ? `hsl(${hueOf(term)} 70% 80%)` : "";
    const crown = role === "leader" && this.outward(name) < 0 ? 0.16 * this.radius + 10 : 0;
    parts.role.setAttribute("y", round(this.outward(name) * (this.radius + 22 * this.scale + crown)));
    parts.term.textContent = state ? `term ${term}` : "";
    const words = `${role}${isPaused ? ", paused" : ""}${isUp && state.without_vote ? ", no vote" : ""}`;
    parts.role.textContent = members > 4 && words === "follower" ? "" : words;  // on a full ring, the shape says it
    const dots = isUp && role.endsWith("candidate") ? state.electors.map((elector) => [elector, state.votes[elector]]) : [];
    parts.votes.replaceChildren(...dots.map(([elector, vote], place) => this.dot(elector, vote, place - (dots.length - 1) / 2, dots.length > 5 ? 17 : 19)));
    const votes = dots.filter(([, vote]) => vote).map(([elector]) => elector);
    parts.group.setAttribute("aria-label", `${name}: ${words}${state ? `, term ${term}` : ""}${dots.length ? `, votes of ${votes.join(" ") || "nobody"}` : ""}`);
  }

  dot(elector, vote, place, room) {
    const made = shape("g", { transform: `translate(${round(place * room)} 0)`, class: vote === undefined ? "asked" : vote ? "given" : "denied" });
    made.append(vote === false ? shape("rect", { x: -7.5, y: -7.5, width: 15, height: 15 }) : shape("circle", { r: 8 }), shape("text", {}, elector.replace(/^s/, "")), shape("title", {}, `${elector} ${vote === undefined ? "has not answered" : vote ? "gave its vote" : "refused"}`));
    return made;
  }

  showTimer(name, parts, found, time) {
    const left = found && found.state.timeout_ms !== null ? Math.max(0, found.state.timeout_ms - 1000 * (time - this.known.time(name, found.at))) : 0;
    const share = Math.min(1, left / this.most_ms).toFixed(3);
    if (parts.share === share) return;
    parts.share = share;
    parts.timer.setAttribute("stroke-dasharray", `${share} 2`);
    parts.timer.classList.toggle("late", share > 0 && share < 0.25);
    parts.track.classList.toggle("off", !found || found.state.timeout_ms === null);
  }

  // The longest timeout that was seen of a node decides the scale of all rings.
  noteTimeout(name, time) {
    const found = this.known.at(name, time), timeout_ms = found && !found.gone ? found.state.timeout_ms : null;
    if (timeout_ms !== null) this.longest.set(name, Math.max(timeout_ms, this.longest.get(name) || 0));
  }

  // The timer that is a whole ring.
  mostOf(longest) { return Math.max(1, Math.min(Math.max(...longest), TIMER_SPREAD * Math.min(...longest))); }

  showLinks(time) {
    const cuts = this.known.cuts(time), key = JSON.stringify(cuts);
    if (key === this.cuts) return;
    this.cuts = key;
    const isCut = (from, to) => cuts.some(([one, other]) => one === from && other === to);
    for (const group of this.layers.links.children) {
      const [one, other] = group.dataset.link.split(" "), ways = [isCut(one, other), isCut(other, one)], count = ways.filter(Boolean).length;
      group.setAttribute("class", `link ${["", "half", "broken"][count]}`);
      group.setAttribute("aria-label", `link between ${one} and ${other}${count === 2 ? ", cut" : count ? `, cut from ${ways[0] ? `${one} to ${other}` : `${other} to ${one}`}` : ""}`);
      const text = group.lastChild, [[x1, y1], [x2, y2]] = [this.spots.get(one), this.spots.get(other)];
      // The mark of a cut in one direction is nearer to its sender.
      const share = count === 1 ? (ways[0] ? 0.33 : 0.67) : 0.5;
      text.textContent = count ? "✂" : "";
      text.setAttribute("x", round(x1 + share * (x2 - x1))); text.setAttribute("y", round(y1 + share * (y2 - y1)));
    }
  }

  // --- messages -----------------------------------------------------------------------------

  // Where a message is at a time: its share of the way, and how much of it is still there.
  whereIs(message, time) {
    const { known } = this, sent = known.time(message.from, message.at);
    if (message.arrived !== null) {
      const arrived = known.time(message.to, message.arrived);
      return time < arrived ? { share: (time - sent) / (arrived - sent), left: 1 } : null;
    }
    if (message.lost) return this.lost(message.lost, sent, time);
    const flight = this.flights.get(`${message.from} ${message.to} ${message.line}`);
    if (flight && flight.held) return { share: 0.5, left: 1, held: true };
    const due = flight ? known.seconds(flight.due_ms) : sent + WAY_S;
    return { share: Math.min(ALMOST, (time - sent) / Math.max(0.001, due - sent)), left: 1 };
  }

  lost({ at, where }, sent, time) {
    const [ends, share] = at === null ? [sent + WAY_S, 0.5] : where === "sender" ? [sent + UNSENT_S, 0.42]
      : where === "way" ? [Math.max(sent + 0.001, this.known.time("", at)), 0.6] : [Math.max(sent + 0.001, this.known.time("", at)), 0.9];
    if (time < ends) return { share: share * (time - sent) / (ends - sent), left: 1 };
    return time < ends + FADE_S ? { share, left: 1 - (time - ends) / FADE_S, broken: true } : null;
  }

  showMessages(time, chosen) {
    const seen = new Set(), recent = this.known.recent(time);
    for (const [id, { message }] of this.shown) if (this.isHeld(message) && !recent.includes(message)) recent.push(message);
    for (const message of recent) {
      if (!this.spots.has(message.from) || !this.spots.has(message.to)) continue;
      const where = this.whereIs(message, time);
      if (!where) continue;
      seen.add(message.id);
      this.showMessage(message, where, chosen);
    }
    for (const [id, { group }] of this.shown) if (!seen.has(id)) { group.remove(); this.shown.delete(id); }
  }

  isHeld(message) { const flight = this.flights.get(`${message.from} ${message.to} ${message.line}`); return Boolean(flight && flight.held && message.arrived === null && !message.lost); }

  showMessage(message, where, chosen) {
    if (!this.shown.has(message.id)) this.shown.set(message.id, this.message(message));
    const { group, turned } = this.shown.get(message.id);
    const [[x1, y1], [x2, y2]] = [this.spots.get(message.from), this.spots.get(message.to)];
    const long = Math.hypot(x2 - x1, y2 - y1) || 1, [ux, uy] = [(x2 - x1) / long, (y2 - y1) / long], edge = this.radius + GAP;
    const far = edge + (long - 2 * edge) * Math.max(0, Math.min(1, where.share));
    group.setAttribute("transform", `translate(${round(x1 + far * ux - LANE * uy)} ${round(y1 + far * uy + LANE * ux)}) scale(${round(this.scale)})`);
    group.style.opacity = where.left;
    turned.setAttribute("transform", `rotate(${round(360 * Math.atan2(uy, ux) / TURN)})`);
    const state = `message${where.broken ? " broken" : ""}${where.held ? " held" : ""}${chosen && chosen.got === message.id ? " chosen" : ""}`;
    if (group.getAttribute("class") !== state) group.setAttribute("class", state);
  }

  message(message) {
    const { made, turned } = glyph(message.line), isBeat = ["beat", "ok"].includes(kindOf(message.line)) && message.pulse;
    const group = shape("g", { class: "message", "data-message": message.id, role: "button", tabindex: isBeat ? "-1" : "0", "aria-label": sayMessage(message) });
    group.append(shape("circle", { class: "grip", r: 17 }), made, shape("path", { class: "crack", d: "M-9-14 3-3-4 3 8 14" }), shape("path", { class: "hold", d: "M-4-6v12M4-6v12" }));
    this.layers.messages.append(group);
    return { group, turned, message };
  }

  // What a client just asked for, and what it was answered, beside its node.
  showClient(time) {
    const said = [this.asked(time), this.replied(time)].filter((one) => one && this.spots.has(one.node) && time - one.at < one.stays).sort((one, other) => one.at - other.at).pop(), key = said ? `${said.node} ${said.text}` : "";
    if (this.client === key) return;
    this.client = key;
    if (!said) { this.layers.said.replaceChildren(); return; }
    const [x, y] = this.spots.get(said.node), isRight = x > this.width * 0.6, beside = this.radius + 22, left = round(x + (isRight ? -beside : beside));
    const most = Math.min(SAID_MAX, Math.floor((isRight ? left : this.width - left) / LETTER)), who = said.text.indexOf(": ") + 2;
    const lines = said.text.length > most ? [said.text.slice(0, who), said.text.slice(who)] : [said.text], words = shape("text", { class: `client${isRight ? " left" : ""}` });
    words.append(...lines.map((line, place) => shape("tspan", { x: left, y: round(y - this.radius / 2 + place * LINE) }, line.length > most ? `${line.slice(0, most - 1)}…` : line)));
    this.layers.said.replaceChildren(words);
  }

  asked(time) {
    const act = this.known.actUpTo(time), found = act && /^(\S+) <- ([\w#-]+)@(.+)$/.exec(act.text);
    return found && !this.spots.has(found[2]) ? { node: found[1], text: `${found[2]}: ${found[3]}`, at: this.known.time("", act.at), stays: ASKED_S } : null;
  }

  replied(time) {
    const reply = this.known.replyUpTo(time), found = reply && REPLY.exec(reply.text);
    return found ? { node: found[2], text: `→ ${found[1]}: ${found[3]}`, at: this.known.time("", reply.at), stays: REPLIED_S } : null;
  }
}
