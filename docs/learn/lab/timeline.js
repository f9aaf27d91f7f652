// The time line: a slider over the run, with a mark for each election, commit, fault and act.
import { element } from "../../../extensions/picture/view/static/cards.js";

const ROOM_MS = 20, MARKS_MAX = 400, MARKS_ROOM = 80;
const TAGS = [["broken", "✗", "a broken rule"], ["election", "▲", "election"], ["commit", "●", "commit"], ["conflict", "◆", "logs differ"]];

export class TimeLine {
  // `look(ms)` shows a moment that is known, and `go(ms)` goes to a moment.
  constructor(slider, marks, known, { look, go }) {
    this.slider = slider; this.marks = marks; this.known = known;
    this.kept = new Map(); this.plan = ""; this.count = -1; this.end_ms = 0; this.isHeld = false;
    slider.addEventListener("input", () => { this.isHeld = true; look(Number(slider.value)); });
    slider.addEventListener("change", () => { this.isHeld = false; go(Number(slider.value)); });
  }

  // Takes what is new. The marks of a later moment stay while the plan is the same.
  take(facts) {
    const plan = `${(facts.address || "").replace(/;at%20.*$/, "")}`;
    if (facts.anew && plan !== this.plan) { this.kept.clear(); this.end_ms = 0; }
    this.plan = plan;
    const now_ms = this.known.ms(this.known.newest);
    for (const step of this.known.steps.slice(-400)) {
      const tag = TAGS.find(([name]) => step.tags.includes(name));
      if (tag && !(tag[0] === "election" && step.role === "follower")) this.kept.set(`s${step.id}`, [this.known.ms(this.known.timeOf(step)), tag[0], tag[1], `${step.node}: ${tag[2]}`]);
    }
    for (const act of this.known.done) this.kept.set(`a${act.at} ${act.text}`, [this.known.ms(this.known.time("", act.at)), ...act.text.includes("<-") ? ["client", "↓"] : ["act", "⚡"], act.text]);
    this.end_ms = Math.max(this.end_ms, now_ms, facts.now_ms + ROOM_MS, facts.story ? facts.story.end_ms : 0);
    this.drawMarks();
  }

  drawMarks() {
    const marks = [...this.kept.values()], key = `${marks.length} ${this.end_ms}`;
    if (key === this.count) return;
    this.count = key;
    this.slider.max = this.end_ms;
    const drawn = new Map();  // marks of a kind that would cover each other are one
    for (const [ms, kind, sign, title] of marks.slice(-MARKS_MAX)) {
      const place = kind === "election" || kind === "commit" || kind === "broken" ? kind : "other", spot = `${place} ${Math.round(MARKS_ROOM * ms / this.end_ms)}`;
      const words = `${ms} ms: ${title}`, mark = drawn.get(spot);
      if (mark) { mark.title += `\n${words}`; continue; }
      drawn.set(spot, element("span", sign, { class: `mark m-${kind}`, title: words, style: `left: ${100 * ms / this.end_ms}%` }));
    }
    this.marks.replaceChildren(...drawn.values());
  }

  show(time) {
    const ms = Math.max(0, this.known.ms(time));
    if (ms === this.shown && !this.isHeld && Number(this.slider.value) === ms) return;
    this.shown = ms;
    if (!this.isHeld) this.slider.value = ms;
    this.slider.setAttribute("aria-valuetext", `${ms} ms`);
  }
}
