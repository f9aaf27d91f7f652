// The drawer: what a reader needs seldom. Lines to type, messages and links as lists, files, events, and new runs.
import { element } from "../../../extensions/picture/view/static/cards.js";
import { messageActs } from "./card.js";
import { LinkMap } from "./links.js";
import { REPLY } from "./panel.js";

const TOLD_S = 0.1;  // how long, in seconds of the run, an answer is told below the panel

const $ = (id) => document.getElementById(id);

export class Drawer {
  constructor(lab) {
    this.lab = lab; this.linksShown = ""; this.filesShown = ""; this.words = ""; this.map = new LinkMap($("map"), (text) => lab.act(text));
    $("drawer-open").addEventListener("click", () => this.toggle());
    $("drawer-close").addEventListener("click", () => this.toggle(false));
    $("drawer").addEventListener("keydown", (event) => { if (event.key === "Escape") this.toggle(false); });
    $("heal").addEventListener("click", () => lab.act("heal"));
    $("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = $("line").value.trim();
      if (text) lab.act(`${$("target").value} <- ${text.includes("@") ? text : `client1@${text}`}`);
      $("line").value = "";
    });
  }

  get isOpen() { return !$("drawer").hidden; }

  toggle(wanted = !this.isOpen) {
    $("drawer").hidden = !wanted;
    $("drawer-open").setAttribute("aria-expanded", String(wanted));
    if (wanted) { this.show(); $("drawer-close").focus(); } else $("drawer-open").focus();
  }

  // Opens the signs and keys.
  help() { this.toggle(true); $("help").open = true; $("help").querySelector("summary").focus(); }

  // An answer that has its moment in the run is told while that is shown.
  say(text, hasMoment = false) {
    $("answers").prepend(element("li", text));
    while ($("answers").children.length > 50) $("answers").lastChild.remove();
    if (!hasMoment && !/^s\d: \[\*\]/.test(text)) this.tell(this.words = text);  // not what a console says at a start
  }

  tell(text) { const words = text.replace(REPLY, "$2 answers $1: $3"); if ($("told").textContent !== words) $("told").textContent = words; }

  // The next press takes away what was told.
  hush() { this.words = ""; }

  showTold(time) {
    const { known } = this.lab, reply = known.replyUpTo(time);
    this.tell(this.words || (reply && time - known.time("", reply.at) < TOLD_S ? reply.text : ""));
  }

  clear() { $("answers").replaceChildren(); this.hush(); this.tell(""); }

  // The parts that depend on who is there.
  rebuild(members) {
    const kept = $("target").value;
    $("target").replaceChildren(...members.map((name) => element("option", name, { value: name })));
    if (members.includes(kept)) $("target").value = kept;
    $("files").replaceChildren(...members.map((name) => {
      const one = element("section", undefined, { "data-node": name, "aria-label": name });
      one.append(element("h3", `${name}.log`), element("pre", "", { class: "file", tabindex: "0", "aria-label": `the file ${name}.log` }));
      return one;
    }));
    this.filesShown = "";
  }

  // Shows the present facts; a closed drawer costs nothing.
  show() {
    if (!this.isOpen) return;
    this.showFlights(); this.showLinks(); this.showFiles();
  }

  showFlights() {
    const { facts } = this.lab, held = document.activeElement?.dataset?.act;
    $("flights").replaceChildren(...facts.flights.map((flight) => {
      const item = element("li"), left = flight.held ? "held" : `${Math.max(0, flight.due_ms - facts.now_ms)} ms`, row = element("span", undefined, { class: "orders" });
      if (flight.held) item.classList.add("held");
      for (const { text, act, data } of messageActs(flight)) {
        const button = element("button", text, { type: "button", ...data });
        button.addEventListener("click", () => this.lab.act(act));
        row.append(button);
      }
      item.append(element("span", `${flight.from} → ${flight.to} ${left}: ${flight.line}`, { title: flight.line }), row);
      return item;
    }));
    if (held) $("flights").querySelector(`[data-act="${held}"]`)?.focus();
  }

  showLinks() {
    const { members, cuts } = this.lab.facts, key = JSON.stringify([members, cuts]), held = document.activeElement?.dataset?.link;
    this.map.show(members, cuts);
    if (this.linksShown === key) return;
    this.linksShown = key;
    const head = element("tr");
    head.append(element("th", "from ╲ to", { scope: "col" }), ...members.map((name) => element("th", name, { scope: "col" })));
    $("links").replaceChildren(head, ...members.map((from) => {
      const row = element("tr");
      row.append(element("th", from, { scope: "row" }), ...members.map((to) => { const cell = element("td"); if (from !== to) cell.append(this.linkButton(from, to)); return cell; }));
      return row;
    }));
    if (held) $("links").querySelector(`[data-link="${held}"]`)?.focus();
  }

  linkButton(from, to) {
    const isCut = this.lab.facts.cuts.some(([one, other]) => one === from && other === to);
    const button = element("button", isCut ? "✕" : "→", { type: "button", "aria-pressed": String(isCut), "aria-label": `the link from ${from} to ${to} is cut`, "data-link": `${from} ${to}` });
    button.addEventListener("click", () => this.lab.act(isCut ? `mend ${from} ${to}` : $("both").checked ? `cut ${from} | ${to}` : `cut ${from} -> ${to}`));
    return button;
  }

  showFiles() {
    const { members, nodes } = this.lab.facts;
    for (const name of members) {
      const file = $("files").querySelector(`[data-node="${name}"] .file`), text = nodes[name]?.files[`${name}.log`] ?? "(no log)";
      if (file && file.textContent !== text) { file.textContent = text; file.scrollTop = file.scrollHeight; }
    }
  }

  // The controls say what runs.
  showRun(address, members, core) {
    const lines = (address || "").split(";").map(decodeURIComponent), after = (word) => lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
    if (!after("seed").length) return;
    $("seed").value = after("seed")[0];
    $("bugs").value = core.trim() ? "" : after("bug")[0] || "";
    $("size").value = String((after("nodes")[0] || members.join(" ")).split(" ").length);
    $("before").value = after("before").join("; ");
  }
}
