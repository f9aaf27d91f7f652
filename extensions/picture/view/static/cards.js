// A card for each node: role, term, timeout, votes, followers, active orders, and possible orders.
import { hueOf } from "./model.js";

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

export const MANY = 5;  // from this many nodes on, the layout is denser, to fit on a screen

// Group names with the same text: "s1 s2: match 5, next 6".
function together(entries, text) {
  const groups = new Map();
  for (const [name, each] of entries) groups.set(text(each), [...(groups.get(text(each)) || []), name]);
  return [...groups].map(([said, names]) => `${names.join(" ")}${said}`).join("; ");
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
    const list = element("dl"), asked = element("p", undefined, { class: "asked" });
    card.append(head, timer, asked, list);
    if (facts.controller || facts.processes) card.append(this.orders(node, facts));
    this.place.append(card);
    this.cards.set(node, { card, role, timer, bar, list, asked });
  }

  orders(node, facts) {
    const row = element("div", undefined, { class: "orders", role: "group", "aria-label": `orders for ${node}` });
    const add = (text, what, title = "") => {
      const button = element("button", text, { type: "button", "data-order": text, "data-node": node, title });
      button.addEventListener("click", () => this.order(node, typeof what === "function" ? what() : what));
      if (!what.process) button.classList.add("fault");
      row.append(button);
    };
    if (facts.processes) { add("Kill", { process: "kill" }, "kill -9, as a crash"); add("Stop", { process: "stop" }, "SIGTERM: it hands over and ends"); add("Start", { process: "start" }, "its process, with the files that it left"); }
    if (facts.controller) {
      const more = element("button", "Faults", { type: "button", class: "faults", "aria-expanded": "false" });
      more.addEventListener("click", () => more.setAttribute("aria-expanded", String(row.classList.toggle("all"))));
      row.append(more);
      const others = () => facts.members.filter((name) => name !== node).join(" ");
      add("Shut down", { line: "SHUTDOWN" }, "it answers nobody any more; its process goes on"); add("Restart", { line: "RESTART" }, "after Shut down");
      add("Cut off", () => ({ line: `PARTITION ${others()}` })); add("Delay 200 ms", { line: "DELAY 200ms" });
      add("Drop 30 %", { line: "DROP 30%" }); add("Heal", { line: "HEAL" });
      add("Time out", { line: "TIMEOUT" });
    }
    return row;
  }

  show(time, facts) {
    document.body.classList.toggle("many", facts.members.length >= MANY);
    for (const node of facts.members) {
      if (!this.cards.has(node)) this.card(node, facts);
      this.showOne(node, this.model.at(node, time), time);
    }
  }

  showOne(node, found, time) {
    const { card, role, timer, bar, list, asked } = this.cards.get(node), runs = Boolean(found && !found.gone);
    const acts = this.model.inForce(node, time).map((act) => `${act.text} at ${(act.at - (this.model.origin || 0)).toFixed(1)} s`);
    asked.textContent = acts.length ? `asked: ${acts.join(", ")}` : "";
    for (const [text, wanted] of [["Start", false], ["Kill", true], ["Stop", true]]) {
      const button = card.querySelector(`[data-order="${text}"]`);
      if (button) button.disabled = runs !== wanted;
    }
    // A dead process can only be started; one that a controller shut down still obeys it.
    const isDead = Boolean(found && found.gone) && !acts.some((act) => act.startsWith("SHUTDOWN"));
    for (const button of card.querySelectorAll(".orders button"))
      button.hidden = isDead && button.dataset.order !== (card.querySelector('[data-order="Start"]') ? "Start" : "Restart");
    if (!found || found.gone) {
      const problem = this.model.problems[node];
      role.textContent = (found ? "does not answer" : "not heard yet") + (problem ? `: ${problem}` : "");
      card.style.borderLeftColor = ""; bar.style.width = "0"; timer.setAttribute("aria-label", "no election timeout: it does not run"); list.replaceChildren(); list.dataset.shown = "";
      return;
    }
    const state = found.state;
    role.textContent = `${state.role}, term ${state.term}${state.without_vote ? ", without a vote" : ""}`;
    card.style.borderLeftColor = `hsl(${hueOf(state.term)} 65% 50%)`;
    this.showTimer(node, state, found.at, time, timer, bar);
    const rows = [["leader", state.leader || "none"], ["log", `ends at ${state.last[0]} of term ${state.last[1]}, commit ${state.commit}, applied ${state.applied}, on disk ${state.durable}`]];
    const votes = Object.entries(state.votes);
    rows.push(["vote", `${state.vote || "none"} in term ${state.term}`]);
    if (votes.length) rows.push(["votes", together(votes, (yes) => yes ? " ✓" : " ✗")]);
    const followers = Object.entries(state.followers);
    if (followers.length) rows.push(["followers", together(followers, (each) => `: match ${each[0]}, next ${each[1]} (${each[2]})`)]);
    const shown = JSON.stringify(rows);
    if (list.dataset.shown !== shown) {
      list.dataset.shown = shown;
      list.replaceChildren(...rows.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
    }
  }

  showTimer(node, state, at, time, timer, bar) {
    if (state.timeout_ms === null) { bar.style.width = "0"; timer.setAttribute("aria-label", "leads: no election timeout"); return; }
    const left = Math.max(0, state.timeout_ms - 1000 * (time - this.model.time(node, at)));
    this.longest[node] = Math.max(left, this.longest[node] || 1, state.timeout_ms);
    bar.style.width = `${100 * left / this.longest[node]}%`;
    timer.setAttribute("aria-label", `election timeout in ${Math.round(left)} ms`);
  }
}
