// The logs of all nodes side by side: a row for each node, a column for each index. The leader's row
// is marked; its next and match index of each follower are in the follower's row. A cell begins with its
// term, so that no colour has to say it.
import { element } from "./cards.js";
import { hueOf } from "./model.js";

const COLUMNS = 18;

export class Logs {
  constructor(place, model) { this.place = place; this.model = model; this.shown = ""; }

  // `step` is a selected step: its dropped entries are shown, struck through.
  show(time, members, step) {
    const found = members.map((node) => [node, this.model.at(node, time)]);
    const leads = found.filter(([, one]) => one && !one.gone && one.state?.role === "leader").sort(([, one], [, other]) => one.state.term - other.state.term).pop(), leader = leads && leads[1].state;
    const dropped = step && step.cut !== null && step.cut !== undefined ? this.dropped(step) : [];
    const rows = found.map(([node, one]) => this.row(node, one, leader, step && step.node === node ? dropped : []));
    const last = Math.max(0, ...rows.flatMap((row) => [...row.cells.keys()])), first = Math.max(1, last - COLUMNS + 1);
    this.longest = Math.max(0, ...rows.flatMap((row) => [...row.cells].filter(([, held]) => held.command !== undefined).map(([index]) => index)));
    if (leads) rows.find((row) => row.node === leads[0]).isLeader = true;
    const shown = JSON.stringify([first, last, rows.map((row) => [row.node, row.isLeader, [...row.cells]])]);
    if (shown === this.shown) return;
    this.shown = shown;
    const table = element("table"), head = element("tr");
    head.append(element("th", "index", { scope: "col" }));
    for (let index = first; index <= last; index += 1) head.append(element("th", `${index}`, { scope: "col" }));
    table.append(head, ...rows.map((row) => this.line(row, first, last)));
    this.place.replaceChildren(table);
    this.place.scrollLeft = this.place.scrollWidth;
  }

  dropped(step) {
    const before = this.model.before(step);
    return before ? before.log.filter((entry) => entry[0] > step.cut) : [];
  }

  row(node, one, leader, dropped) {
    const cells = new Map(), state = one && one.state, down = Boolean(one && one.gone);
    const cell = (index) => { if (!cells.has(index)) cells.set(index, { marks: [] }); return cells.get(index); };
    for (const [index, term, command] of dropped) Object.assign(cell(index), { term, command, gone: true });
    for (const [index, term, command] of one ? one.log : []) {
      const held = cells.get(index), was = held && held.gone ? `${held.command} of term ${held.term}` : "";
      cells.set(index, { marks: [], term, command, was, down, committed: index <= state.commit, applied: index <= state.applied, last: index === state.last[0] });
    }
    const progress = leader && leader.followers[node];
    if (progress) {
      if (progress[0] > 0) cell(progress[0]).marks.push("match");
      cell(progress[1]).marks.push("next");
    }
    return { node, cells };
  }

  line(row, first, last) {
    const line = element("tr", undefined, { "data-node": row.node });
    line.append(element("th", row.node, { scope: "row", ...row.isLeader ? { "aria-label": `${row.node}, the leader` } : {} }));
    line.classList.toggle("leader", Boolean(row.isLeader));
    for (let index = first; index <= last; index += 1) line.append(this.cell(index, row.cells.get(index)));
    return line;
  }

  cell(index, held) {
    const cell = element("td");
    if (index <= this.longest && held?.command === undefined) cell.className = "empty";
    if (!held) return cell;
    const words = [];
    if (held.command !== undefined) {
      cell.className = "entry";
      cell.append(element("b", `${held.term}`), ` ${held.command}`);
      cell.style.background = `hsl(${hueOf(held.term)} 65% 78%)`;
      words.push(`entry ${index} of term ${held.term}: ${held.command}`);
    }
    for (const name of ["committed", "applied", "last", "gone", "down"]) if (held[name]) cell.classList.add(name);
    for (const name of ["committed", "applied"]) if (held[name]) words.push(name);
    if (held.down) words.push("on the disk of a node that is down");
    if (held.gone) words.push("dropped");
    if (held.was) { cell.classList.add("replaced"); words.push(`instead of ${held.was}, which was dropped`); }
    for (const mark of held.marks) { cell.append(element("span", mark === "match" ? "•" : "▸", { class: mark, "aria-hidden": "true" })); words.push(`the leader's ${mark} index`); }
    cell.title = words.join(", ");
    cell.setAttribute("aria-label", cell.title);
    return cell;
  }
}
