// A card for each node: role, term, timeout, votes, log, followers, and the orders for it.
import { hueOf } from "./model.js";

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export class Cards {
  constructor(place, model, order) {
    this.place = place; this.model = model; this.order = order; this.cards = new Map();
    this.longest = {};
  }

  card(node, facts) {
    const card = element("article", undefined, { class: "node", "aria-label": node });
    const head = element("div", undefined, { class: "head" });
    const role = element("span", "", { class: "role" });
    head.append(element("h2", node), role);
    const timer = element("div", undefined, { class: "timer", role: "img" }), bar = element("div");
    timer.append(bar);
    const list = element("dl"), log = element("ol", undefined, { class: "log", "aria-label": `log of ${node}` });
    card.append(head, timer, list, log);
    if (facts.controller || facts.processes) card.append(this.orders(node, facts));
    this.place.append(card);
    this.cards.set(node, { card, role, timer, bar, list, log });
  }

  orders(node, facts) {
    const row = element("div", undefined, { class: "orders", role: "group", "aria-label": `orders for ${node}` });
    const add = (text, what) => {
      const button = element("button", text, { type: "button", "data-order": text, "data-node": node });
      button.addEventListener("click", () => this.order(node, typeof what === "function" ? what() : what));
      row.append(button);
    };
    if (facts.processes) { add("Kill", { process: "kill" }); add("Stop", { process: "stop" }); add("Start", { process: "start" }); }
    if (facts.controller) {
      const others = () => facts.members.filter((name) => name !== node).join(" ");
      add("Shut down", { line: "SHUTDOWN" }); add("Restart", { line: "RESTART" });
      add("Cut off", () => ({ line: `PARTITION ${others()}` })); add("Delay 200 ms", { line: "DELAY 200ms" });
      add("Drop 30 %", { line: "DROP 30%" }); add("Heal", { line: "HEAL" });
      add("Time out", { line: "TIMEOUT" });
    }
    return row;
  }

  show(time, facts) {
    for (const node of facts.members) {
      if (!this.cards.has(node)) this.card(node, facts);
      this.showOne(node, this.model.at(node, time), time);
    }
  }

  showOne(node, found, time) {
    const { card, role, timer, bar, list, log } = this.cards.get(node);
    if (!found || found.gone) {
      const problem = this.model.problems[node];
      role.textContent = (found ? "does not answer" : "not heard yet") + (problem ? `: ${problem}` : "");
      card.style.borderLeftColor = ""; bar.style.width = "0"; list.replaceChildren(); log.replaceChildren();
      log.dataset.shown = "";
      return;
    }
    const state = found.state;
    role.textContent = `${state.role}, term ${state.term}`;
    card.style.borderLeftColor = `hsl(${hueOf(state.term)} 65% 50%)`;
    this.showTimer(node, state, found.at, time, timer, bar);
    const rows = [["leader", state.leader || "none"], ["log", `ends at ${state.last[0]} of term ${state.last[1]}, commit ${state.commit}, applied ${state.applied}, on disk ${state.durable}`]];
    const votes = Object.entries(state.votes);
    rows.push(["vote", `${state.vote || "none"} in term ${state.term}`]);
    if (votes.length) rows.push(["votes", votes.map(([name, yes]) => `${name} ${yes ? "✓" : "✗"}`).join("  ")]);
    const followers = Object.entries(state.followers);
    if (followers.length) rows.push(["followers", followers.map(([name, each]) => `${name}: match ${each[0]}, next ${each[1]} (${each[2]})`).join("; ")]);
    const shown = JSON.stringify(rows);
    if (list.dataset.shown !== shown) {
      list.dataset.shown = shown;
      list.replaceChildren(...rows.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
    }
    this.showLog(found, state, log);
  }

  showTimer(node, state, at, time, timer, bar) {
    if (state.timeout_ms === null) { bar.style.width = "0"; timer.setAttribute("aria-label", "leads: no election timeout"); return; }
    const left = Math.max(0, state.timeout_ms - 1000 * (time - this.model.time(node, at)));
    this.longest[node] = Math.max(left, this.longest[node] || 1, state.timeout_ms);
    bar.style.width = `${100 * left / this.longest[node]}%`;
    timer.setAttribute("aria-label", `election timeout in ${Math.round(left)} ms`);
  }

  showLog(found, state, log) {
    const entries = found.log.slice(-24);
    const shown = `${state.commit} ${state.applied} ${JSON.stringify(entries)}`;
    if (log.dataset.shown === shown) return;
    log.dataset.shown = shown;
    const cells = [];
    const before = entries.length ? entries[0][0] - 1 : state.last[0];
    if (before > 0) cells.push(element("li", `… ${before} before`));
    for (const [index, term, command] of entries) {
      const cell = element("li", undefined, { title: `${index} of term ${term}: ${command}` });
      cell.append(element("b", `${index}`), document.createTextNode(command));
      cell.style.background = `hsl(${hueOf(term)} 65% 78%)`;
      const words = [`entry ${index} of term ${term}: ${command}`];
      if (index <= state.commit) { cell.classList.add("committed"); words.push("committed"); }
      if (index <= state.applied) { cell.classList.add("applied"); words.push("applied"); }
      cell.setAttribute("aria-label", words.join(", "));
      cells.push(cell);
    }
    log.replaceChildren(...cells);
    log.scrollLeft = log.scrollWidth;
  }
}
