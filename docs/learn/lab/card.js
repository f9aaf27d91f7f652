// The card of a thing that was chosen: what it is, and its few acts.
import { element } from "../../../extensions/picture/view/static/cards.js";
import { sayMessage } from "./glyphs.js";

const SLOW_DISK_MS = 40, EDGE = 8, BESIDE = 14, NARROW = 1000;
const CRASH_FIRST = "To edit its log, crash it first.";

export class Card {
  // `lab` has `facts`, `known`, `at`, `leader()`, `act(text)` and `editLog(node)`.
  constructor(place, lab) { this.place = place; this.lab = lab; }

  open(kind, what, target) {
    const rows = { node: () => this.node(what), link: () => this.link(what), message: () => this.message(what), entry: () => this.entry(what) }[kind]();
    this.place.replaceChildren(...rows);
    this.place.showPopover();
    this.moveBeside(target.getBoundingClientRect());
    (this.place.querySelector("button:not(:disabled)") || this.place).focus({ preventScroll: true });
    this.opener = target;
  }

  close() { this.place.hidePopover(); const { opener } = this, again = opener && !opener.isConnected && opener.dataset?.node ? document.querySelector(`#stage [data-node="${opener.dataset.node}"]`) : opener; again?.focus({ preventScroll: true }); }

  // Beside the thing if there is room, else where it fits. On a narrow screen at its lower end, or its
  // upper one, so that it covers no node.
  moveBeside(of) {
    const { width, height } = this.place.getBoundingClientRect(), isRight = of.right + BESIDE + width < innerWidth;
    const left = isRight ? of.right + BESIDE : of.left - BESIDE - width > 0 ? of.left - BESIDE - width : (innerWidth - width) / 2;
    this.place.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - width - EDGE))}px`;
    const lowest = innerHeight - height - EDGE, top = innerWidth >= NARROW ? Math.min(of.top, lowest) : of.bottom <= lowest ? lowest : EDGE;
    this.place.style.top = `${Math.max(EDGE, top)}px`;
  }

  buttons(label, acts) {
    const row = element("div", undefined, { class: "orders", role: "group", "aria-label": label });
    for (const { text, act, title = "", off = false, data = {} } of acts) {
      const button = element("button", text, { type: "button", title, ...data });
      button.disabled = off;
      button.addEventListener("click", () => { this.close(); if (typeof act === "function") act(); else this.lab.act(act); });
      row.append(button);
    }
    return row;
  }

  node(node) {
    const { lab } = this, fact = lab.facts.nodes[node] || {}, found = lab.known.at(node, lab.at), isDown = !fact.up, state = found && found.state;
    const one = (text, act, title, off) => ({ text, act, title, off, data: { "data-order": text, "data-node": node } });
    const cuts = lab.facts.cuts.some((link) => link.includes(node));
    const acts = [
      isDown ? one("Restart", `restart ${node}`, "it starts with the files that it left") : one("Crash", `crash ${node}`, "its process is killed"),
      fact.paused ? one("Resume", `resume ${node}`, "it takes input again") : one("Pause", `pause ${node}`, "it takes no input while time passes", isDown),
      one("Write", `${node} <- client1@set x ${lab.facts.moment[1] + 1}`, "a client asks it to set x", isDown),
      cuts ? one("Mend links", "heal", "all links are mended") : one("Cut off", `cut ${node}`, "no message leaves or reaches it"),
      one("Lead", `${lab.leader() || node} hands over to ${node}`, "the leader hands over to it", isDown),
      fact.disk === "slow" ? one("Fast disk", `slow disk ${node} 0`, "its writes take no time again", isDown) : one("Slow disk", `slow disk ${node} ${SLOW_DISK_MS}`, `each write takes ${SLOW_DISK_MS} ms`, isDown),
      fact.disk === "held" ? one("Release disk", `release disk ${node}`, "its writes return", isDown) : one("Hang disk", `hold disk ${node}`, "no write returns", isDown),
      one("Lose log", `lose log ${node}`, "its log is deleted, and it starts again"),
      one("Edit log", () => lab.editLog(node), "change its file by hand", !isDown),
    ];
    return [element("h2", `${node}${state ? `: ${isDown ? "down" : state.role}, term ${state.term}` : ""}`), element("p", this.stateOf(state)), this.buttons(`acts on ${node}`, acts), ...isDown ? [] : [element("p", CRASH_FIRST)]];
  }

  stateOf(state) {
    if (!state) return "It is not there.";
    const words = [`Its log ends at entry ${state.last[0]}, and it knows that ${state.commit ? `entries up to ${state.commit} are` : "none is"} committed.`];
    if (state.vote) words.push(`It voted for ${state.vote} in term ${state.term}.`);
    if (state.timeout_ms !== null) words.push(state.leader ? `It follows ${state.leader}.` : "It knows no leader.");
    for (const [name, [match, next]] of Object.entries(state.role === "leader" ? state.followers : {})) words.push(`${name}: match ${match}, next ${next}.`);
    return words.join(" ");
  }

  link([one, other]) {
    const isCut = (from, to) => this.lab.facts.cuts.some(([first, second]) => first === from && second === to);
    const [there, back] = [isCut(one, other), isCut(other, one)], data = { "data-way": `${one} ${other}` };
    const acts = there || back ? [{ text: "Mend", act: `mend ${one} ${other}`, data }] : [];
    if (!(there && back)) acts.push({ text: "Cut both ways", act: `cut ${one} | ${other}`, data });
    if (!there) acts.push({ text: `Cut ${one} → ${other}`, act: `cut ${one} -> ${other}`, data });
    if (!back) acts.push({ text: `Cut ${other} → ${one}`, act: `cut ${other} -> ${one}`, data });
    return [element("h2", `${one} and ${other}`), element("p", there && back ? "Every message between them is lost." : there ? `What ${one} sends to ${other} is lost.` : back ? `What ${other} sends to ${one} is lost.` : "Messages pass both ways."), this.buttons("acts on the link", acts)];
  }

  message(message) {
    const rows = [element("h2", sayMessage(message)), element("code", `${message.from}@${message.line}`, { class: "wire" })];
    const flight = this.lab.flightOf(message);
    if (flight) rows.push(this.buttons("acts on the message", messageActs(flight)));
    else rows.push(element("p", message.lost ? "It is lost." : "It has arrived since: go back in time to act on it."));
    return rows;
  }

  // A cell of the logs: an entry of a node, in words.
  entry({ node, words }) {
    const isDown = !(this.lab.facts.nodes[node] || {}).up, log = (this.lab.facts.nodes[node] || { files: {} }).files[`${node}.log`];
    return [element("h2", `The log of ${node}`), element("p", words), ...log === undefined ? [] : [element("pre", log, { class: "file", tabindex: "0", "aria-label": `the file ${node}.log` })], this.buttons(`acts on the log of ${node}`, [
      { text: "Edit log", act: () => this.lab.editLog(node), off: !isDown, data: { "data-order": "Edit log" } },
      { text: "Lose log", act: `lose log ${node}`, title: "its log is deleted, and it starts again" },
      ...isDown ? [] : [{ text: "Crash", act: `crash ${node}` }],
    ]), ...isDown ? [] : [element("p", CRASH_FIRST)]];
  }
}

// The acts on a message in flight.
export function messageActs(flight) {
  return [["Deliver", "deliver"], ["Drop", "drop"], ["Double", "double"], ["Hold", "hold"]]
    .filter(([, verb]) => verb !== "hold" || !flight.held)
    .map(([text, verb]) => ({ text, act: `${verb} ${flight.number}`, data: { "data-act": `${verb} ${flight.number}`, "aria-label": `${text} message ${flight.number} from ${flight.from} to ${flight.to}` } }));
}
