// The events of the picture, and the state of each node at any kept time.
const KEPT = 8000, PULSES_KEPT = 1000;
const ROUND_S = 0.3, COMMIT_S = 1;  // maximum gap between two steps of an election; time until its leader commits

export class Model {
  constructor() {
    this.members = []; this.offsets = {}; this.leftOut = 0; this.problems = {};
    this.clear();
  }

  clear() {
    this.steps = []; this.messages = new Map(); this.byId = new Map(); this.lives = new Map();
    this.newest = 0; this.origin = null; this.changes = 0; this.gaps = []; this.acts = [];
  }

  // The time of a moment that a node reported, in seconds since the first moment.
  time(node, at) { return at + (this.offsets[node] || 0) - (this.origin || 0); }

  take(batch) {
    if (batch.anew) this.clear();
    const before = this.newest;
    this.offsets = batch.offsets; this.leftOut = batch.left_out; this.problems = batch.problems || {};
    for (const event of batch.events) this.takeOne(event);
    if (batch.thinned) this.gaps.push([before, this.newest]);
    if (!batch.title && this.steps.length > KEPT * 1.25) this.trim();
    this.changes += 1;
  }

  takeOne(event) {
    if (event.k === "message") { this.messages.set(event.id, event); return; }
    if (event.k === "arrive") {
      const message = this.messages.get(event.id);
      if (message) {
        message.arrived = event.at; message.late = event.late; message.lost = null; message.by = event.step;
        const step = this.byId.get(event.step); if (step) step.got = event.id;
      }
      return;
    }
    if (event.k === "act") { this.acts.push(event); return; }
    if (event.k === "lost") { const message = this.messages.get(event.id); if (message) message.lost = event; return; }
    if (this.origin === null) this.origin = event.at + (this.offsets[event.node] || 0);
    if (!this.members.includes(event.node)) this.members.push(event.node);
    if (!this.lives.has(event.node)) this.lives.set(event.node, []);
    this.lives.get(event.node).push(event);
    this.byId.set(event.id, event);
    if (event.k === "step") this.steps.push(event);
    this.newest = Math.max(this.newest, this.time(event.node, event.at));
  }

  // Heartbeats are dropped first, so that an idle cluster keeps its elections.
  trim() {
    const pulses = this.steps.filter((step) => step.pulse && !step.append.length && step.cut === null).slice(0, -PULSES_KEPT);
    const gone = new Set(pulses.slice(0, Math.max(0, this.steps.length - KEPT)));
    if (gone.size) {
      this.steps = this.steps.filter((step) => !gone.has(step));
      for (const [node, life] of this.lives) this.lives.set(node, life.filter((event) => !gone.has(event)));
      for (const step of gone) { this.byId.delete(step.id); for (const id of step.sent) this.messages.delete(id); }
    }
    if (this.steps.length <= KEPT) return;
    this.steps.splice(0, this.steps.length - KEPT);
    const first = this.steps[0], from = this.time(first.node, first.at);
    for (const [node, life] of this.lives) {
      let cut = life.findIndex((event) => this.time(node, event.at) >= from);
      if (cut <= 0) continue;
      const base = this.stateOf(node, life.slice(0, cut));
      for (const gone of life.splice(0, cut)) this.byId.delete(gone.id);
      if (base && base.state) life.unshift({ k: "begin", id: 0, node, at: base.at, state: { ...base.state, log: base.log } });
      if (base && base.gone) life.splice(base.state ? 1 : 0, 0, { k: "end", id: 0, node, at: base.at });
    }
    for (const [id, message] of this.messages) if (this.time(message.from, message.at) < from) this.messages.delete(id);
  }

  // The state of a node after its last step up to a time, or null if it is unknown.
  at(node, time) {
    const life = this.lives.get(node) || [];
    let end = life.length;
    while (end > 0 && this.time(node, life[end - 1].at) > time) end -= 1;
    return this.stateOf(node, life.slice(0, end));
  }

  // The state of a node before one of its steps.
  before(step) {
    const life = this.lives.get(step.node) || [];
    return this.stateOf(step.node, life.slice(0, life.indexOf(step)));
  }

  stateOf(node, events) {
    let begin = events.length - 1;
    while (begin >= 0 && events[begin].k === "step") begin -= 1;
    if (begin < 0 && !events.length) return null;
    if (begin >= 0 && events[begin].k === "end") return this.gone(node, events.slice(0, begin), events[begin].at);
    let state = begin >= 0 ? events[begin].state : events[0], log = begin >= 0 ? [...(state.log || [])] : [];
    let at = begin >= 0 ? events[begin].at : events[0].at;
    for (const step of events.slice(begin + 1)) {
      if (step.cut !== null) log = log.filter((entry) => entry[0] <= step.cut);
      for (const entry of step.append) log.push(entry);
      state = step; at = step.at;
    }
    return { gone: false, at, state, log: log.filter((entry) => entry[0] > state.base).slice(-60) };
  }

  // The state of a node that has ended: its files keep its state on disk.
  gone(node, events, at) {
    const was = this.stateOf(node, events);
    return { gone: true, at, state: was && was.state, log: was ? was.log.filter((entry) => entry[0] <= was.state.durable) : [] };
  }

  // Whether a message is a heartbeat or its answer, and had no effect on its receiver.
  isPulse(message) {
    const taken = this.byId.get(message.by);
    return message.pulse && (!taken || taken.pulse);
  }

  // The steps with a tag, or all steps that are not heartbeats, up to a time.
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

  // The last moment, up to a time, for which the state of every node is known.
  whole(time) {
    const gap = this.gaps.find(([from, until]) => from < time && time < until);
    return gap ? gap[0] : time;
  }

  // The start and end of a step, with its received and sent messages. An election
  // lasts from its first request to the first commit of its leader.
  episode(step) {
    let [from, until] = this.exchange(step);
    if (!step.tags.includes("election") && !step.tags.includes("vote")) return [from, until];
    const at = (one) => this.time(one.node, one.at), mine = at(step);
    const steps = this.steps.filter((one) => one.tags.length).sort((one, other) => at(one) - at(other));
    const votes = steps.filter((one) => one.tags.includes("election") || one.tags.includes("vote"));
    for (const one of votes.filter((each) => at(each) >= mine)) if (at(one) - until <= ROUND_S) until = Math.max(until, this.exchange(one)[1]);
    for (const one of votes.filter((each) => at(each) < mine).reverse()) if (from - at(one) <= ROUND_S) from = Math.min(from, this.exchange(one)[0]);
    const commit = steps.find((one) => one.tags.includes("commit") && at(one) >= mine && at(one) <= until + COMMIT_S);
    return [from, commit ? Math.max(until, at(commit)) : until];
  }

  exchange(step) {
    const times = [this.time(step.node, step.at)], got = this.messages.get(step.got);
    if (got) times.push(this.time(got.from, got.at));
    for (const message of step.sent.map((id) => this.messages.get(id))) if (message && message.arrived !== null) times.push(this.time(message.to, message.arrived));
    return [Math.min(...times), Math.max(...times)];
  }

  // The active orders for a node: a new process has none, HEAL ends faults, RESTART ends
  // only SHUTDOWN.
  inForce(node, time) {
    let found = [];
    for (const act of this.acts) {
      if (act.node !== node || act.at - (this.origin || 0) > time) continue;
      const [verb] = act.text.split(" ");
      if (verb === "start") found = [];
      else if (act.text === "HEAL") found = found.filter((one) => one.text === "SHUTDOWN");
      else if (verb === "RESTART") found = found.filter((one) => one.text !== "SHUTDOWN");
      else if (verb !== "TIMEOUT") found.push(act);
    }
    return found;
  }

  // The next step with a tag after a time, or the last one before it.
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
  const why = step.why.map((reason) => `${reason[3] ? "✗ " : ""}${reason[0]}${reason[1] ? ` (${reason[1]})` : ""}`).join("; ");
  const joint = step.from !== null && /^(granted|denied)/.test(why) ? " " : ": ";
  return `${step.node} ${step.in}${joint}${why}`;
}

// Eight terms in a row are at least 45 degrees apart. The number of a term always stands beside its colour.
export function hueOf(term) { return (term * 135 + 200) % 360; }
