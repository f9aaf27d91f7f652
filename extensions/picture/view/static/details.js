// The clicked item: the line on the wire, the reason with its section, and its place in the code.
import { element } from "./cards.js";

export class Details {
  constructor(place, model, choose) { this.place = place; this.model = model; this.choose = choose; }

  show(chosen) {
    const rows = [element("h2", "Details")];
    if (!chosen) rows.push(element("p", "Click on an arrow, a point or a line of the list."));
    else if (chosen.k === "message") this.message(chosen, rows);
    else this.step(chosen, rows);
    this.place.replaceChildren(...rows);
  }

  seconds(node, at) { return `${this.model.time(node, at).toFixed(6)} s`; }

  message(message, rows) {
    const way = message.arrived === null ? null
      : 1000 * (this.model.time(message.to, message.arrived) - this.model.time(message.from, message.at));
    const outcome = message.lost ? this.loss(message)
      : way === null ? "It is on its way, or was when this run ended, or its arrival was left out."
        : `It arrived at ${this.seconds(message.to, message.arrived)}, after ${way.toFixed(3)} ms${message.late ? ": late" : ""}.`;
    rows.push(element("p", `${message.from} → ${message.to}, sent at ${this.seconds(message.from, message.at)}. ${outcome}`));
    rows.push(element("h3", "The line on the wire"), element("code", `${message.from}@${message.line}`, { class: "wire" }));
    const taken = this.model.byId.get(message.by);
    if (taken) { rows.push(element("h3", `The effect on ${message.to}`)); this.reasons(taken, rows); rows.push(this.link(taken, "Show that step")); }
  }

  loss(message) {
    const { at, where } = message.lost;
    if (at === null) return "It did not arrive within 2 s: the other side may be away.";
    const place = where === "sender" ? `at ${message.from}, and was not sent` : where === "way" ? "on its way" : `at ${message.to}, which did not take it`;
    return `It was lost ${place}, at ${this.seconds(message.from, at)}.`;
  }

  step(step, rows) {
    rows.push(element("p", `${step.node} at ${this.seconds(step.node, step.at)}: ${step.in}`));
    if (step.line) rows.push(element("h3", "The line on the wire"), element("code", `${step.from}@${step.line}`, { class: "wire" }));
    rows.push(element("h3", "Why")); this.reasons(step, rows);
    const before = step.cut === null ? null : this.model.before(step);
    const dropped = before ? before.log.filter((entry) => entry[0] > step.cut) : [];
    if (dropped.length) rows.push(element("p", `Dropped: ${dropped.map(([index, term, command]) => `entry ${index} of term ${term}, ${command}`).join("; ")}.`));
    if (step.changed.length) rows.push(element("p", `Changed: ${step.changed.join(", ")}.`));
    if (step.refused) return;
    const sent = step.sent.map((id) => this.model.messages.get(id)).filter(Boolean);
    if (!sent.length) return;
    rows.push(element("h3", "Sent"));
    const list = element("ul");
    for (const message of sent) { const item = element("li"); item.append(this.link(message, `to ${message.to}: ${message.line}`)); list.append(item); }
    rows.push(list);
  }

  reasons(step, rows) {
    const list = element("ul", undefined, { class: "why" });
    for (const [text, section, place, isBroken] of step.why) {
      const item = element("li", `${isBroken ? "✗ Breaks a rule: " : ""}${text} `), [module, name] = place.split(".");
      if (isBroken) item.classList.add("broken");
      if (section) item.append(element("span", `(${section})`, { class: "section" }));
      if (place) item.append(document.createTextNode(" "), element("code", `src/raft/${module}.py ${name}()`, { class: "place" }));
      list.append(item);
    }
    rows.push(list);
  }

  link(what, text) {
    const button = element("button", text, { type: "button" });
    button.addEventListener("click", () => this.choose(what));
    return button;
  }
}

