// The events of the picture, and the state of each node at any time that is kept.
const KEPT = 8000;

export class Model {
  constructor() {
    this.members = []; this.offsets = {}; this.leftOut = 0; this.problems = {};
    this.clear();
  }

  clear() {
    this.steps = []; this.messages = new Map(); this.byId = new Map(); this.lives = new Map();
    this.newest = 0; this.origin = null; this.changes = 0;
  }

  // The time of a moment that a node reported, in seconds from the first one.
  time(node, at) { return at + (this.offsets[node] || 0) - (this.origin || 0); }

  take(batch) {
    if (batch.anew) this.clear();
    this.offsets = batch.offsets; this.leftOut = batch.left_out; this.problems = batch.problems || {};
    for (const event of batch.events) this.takeOne(event);
    if (!batch.title && this.steps.length > KEPT * 1.25) this.trim();
    this.changes += 1;
  }

  takeOne(event) {
    if (event.k === "message") { this.messages.set(event.id, event); return; }
    if (event.k === "arrive") {
      const message = this.messages.get(event.id);
      if (message) {
        message.arrived = event.at; message.late = event.late; message.lost = false; message.by = event.step;
        const step = this.byId.get(event.step); if (step) step.got = event.id;
      }
      return;
    }
    if (event.k === "lost") { const message = this.messages.get(event.id); if (message) message.lost = true; return; }
    if (this.origin === null) this.origin = event.at + (this.offsets[event.node] || 0);
    if (!this.members.includes(event.node)) this.members.push(event.node);
    if (!this.lives.has(event.node)) this.lives.set(event.node, []);
    this.lives.get(event.node).push(event);
    this.byId.set(event.id, event);
    if (event.k === "step") this.steps.push(event);
    this.newest = Math.max(this.newest, this.time(event.node, event.at));
  }

  trim() {
    this.steps.splice(0, this.steps.length - KEPT);
    const first = this.steps[0], from = this.time(first.node, first.at);
    for (const [node, life] of this.lives) {
      let cut = life.findIndex((event) => this.time(node, event.at) >= from);
      if (cut <= 0) continue;
      const base = this.stateOf(node, life.slice(0, cut));
      for (const gone of life.splice(0, cut)) this.byId.delete(gone.id);
      if (base) life.unshift({ k: "begin", id: 0, node, at: base.at, state: { ...base.state, log: base.log } });
    }
    for (const [id, message] of this.messages) if (this.time(message.from, message.at) < from) this.messages.delete(id);
  }

  // The state of a node as of its last step up to a time: null where nothing is known.
  at(node, time) {
    const life = this.lives.get(node) || [];
    let end = life.length;
    while (end > 0 && this.time(node, life[end - 1].at) > time) end -= 1;
    return this.stateOf(node, life.slice(0, end));
  }

  stateOf(node, events) {
    let begin = events.length - 1;
    while (begin >= 0 && events[begin].k === "step") begin -= 1;
    if (begin < 0 && !events.length) return null;
    if (begin >= 0 && events[begin].k === "end") return { gone: true, at: events[begin].at, state: null, log: [] };
    let state = begin >= 0 ? events[begin].state : events[0], log = begin >= 0 ? [...(state.log || [])] : [];
    let at = begin >= 0 ? events[begin].at : events[0].at;
    for (const step of events.slice(begin + 1)) {
      if (step.cut !== null) log = log.filter((entry) => entry[0] <= step.cut);
      for (const entry of step.append) log.push(entry);
      state = step; at = step.at;
    }
    return { gone: false, at, state, log: log.filter((entry) => entry[0] > state.base).slice(-60) };
  }

  // The steps with a tag, or all that are no heartbeats, up to a time.
  upTo(time, tag, withPulses, count) {
    const found = [];
    for (let i = this.steps.length - 1; i >= 0 && found.length < count; i -= 1) {
      const step = this.steps[i];
      if (this.time(step.node, step.at) > time || (step.pulse && !withPulses)) continue;
      if (!tag || step.tags.includes(tag)) found.push(step);
    }
    const at = (step) => this.time(step.node, step.at);
    return found.reverse().sort((one, other) => at(one) - at(other));
  }

  // The next step with a tag behind a time, or the last one before it.
  find(tag, time, forward) {
    let best = null;
    for (const step of this.steps) {
      if (!step.tags.includes(tag)) continue;
      const at = this.time(step.node, step.at);
      if (forward ? at > time + 1e-6 : at < time - 1e-6) {
        if (forward) { if (!best || at < this.time(best.node, best.at)) best = step; }
        else if (!best || at >= this.time(best.node, best.at)) best = step;
      }
    }
    return best;
  }
}

export function headline(step) {
  const why = step.why.map((reason) => `${reason[0]} (${reason[1]})`).join("; ");
  const joint = step.from !== null && /^(granted|denied)/.test(why) ? " " : ": ";
  return `${step.node} ${step.in}${joint}${why}`;
}

export function hueOf(term) { return (term * 67 + 200) % 360; }
