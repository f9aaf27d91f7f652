// What is known of a run: the model of the view, read at any moment as often as the screen is drawn.
// Times are in seconds since the first event.
import { Model } from "../../../extensions/picture/view/static/model.js";

const RECENT_S = 0.6, SENT_MAX = 12000, SENT_KEPT = 8000;
const HOLDS = /^I am up to date term \d+ index (\d+)/;  // the answer of a follower that holds entries
const BOOKKEEPING = ["Synced", "Applied"];  // they follow from the step before them

// A decision is neither a heartbeat, nor an ignored message, nor the bookkeeping after another step.
export const isDecision = (step) => !step.pulse && !step.ignored && !BOOKKEEPING.includes(step.kind);

// The step of several that a reader wants to see.
export function telling(steps) { return steps.findLast(isDecision) || steps.findLast((step) => !step.pulse) || steps[steps.length - 1] || null; }

// How many things in an order come up to a time.
function countUpTo(things, time, timeOf) {
  let low = 0, high = things.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(things[middle]) > time) high = middle; else low = middle + 1;
  }
  return low;
}

export class Known extends Model {
  clear() { super.clear(); this.sent = []; this.unsynced = []; this.done = []; this.replies = []; this.kept = new Map(); this.decided = null; this.present = { cuts: [], nodes: {} }; }

  take(batch) {
    super.take(batch);
    if (this.sent.length > SENT_MAX) this.sent.splice(0, this.sent.length - SENT_KEPT);
    this.done.push(...batch.acts || []);
    this.replies.push(...batch.replies || []);
    this.present = { cuts: batch.cuts || [], nodes: batch.nodes || {} };
  }

  // The step that appends entries asks for the write and for the answer; the answer leaves when they are on the disk.
  takeOne(event) {
    super.takeOne(event);
    if (event.k === "message") this.takeSent(event);
    else if (event.k === "arrive") this.leave(({ message }) => message.id === event.id);
    else if (event.k === "end") this.unsynced = this.unsynced.filter(({ message }) => message.from !== event.node);
    else if (event.k === "step") this.leave(({ message, index }) => message.from === event.node && index <= event.durable, event.at);
  }

  takeSent(message) {
    const index = Number(HOLDS.exec(message.line)?.[1] || 0), step = this.lives.get(message.from)?.at(-1);
    if (step?.k !== "step" || index <= step.durable) { this.sent.push(message); return; }
    this.unsynced.push({ message, index, asked: message.at });
    message.at = Infinity;
  }

  leave(fits, at) {
    for (const one of this.unsynced.filter(fits)) { one.message.at = at ?? one.asked; this.sent.push(one.message); }
    this.unsynced = this.unsynced.filter((one) => !fits(one));
  }

  seconds(ms) { return ms / 1000 - (this.origin || 0); }
  ms(time) { return Math.round(1000 * (time + (this.origin || 0))); }
  timeOf(step) { return this.time(step.node, step.at); }

  // As in the model, but a node's state is computed only after its next event.
  at(node, time) {
    const life = this.lives.get(node) || [], count = countUpTo(life, time, (event) => this.time(node, event.at));
    if (!count) return null;
    const last = life[count - 1], kept = this.kept.get(node);
    if (kept && kept.last === last) return kept.found;
    const found = this.stateOf(node, life.slice(0, count));
    this.kept.set(node, { last, found });
    return found;
  }

  stepsUpTo(time) { return countUpTo(this.steps, time, (step) => this.timeOf(step)); }

  // The last decision up to a time, and the next one after it.
  decision(time) {
    const last = this.stepsUpTo(time) - 1, step = this.steps[last] || null;
    if (this.decided && this.decided.step === step) return this.decided.found;
    const found = this.steps.findLast((one, place) => place <= last && isDecision(one)) || null;
    this.decided = { step, found };
    return found;
  }

  nextDecision(time) { for (let i = this.stepsUpTo(time); i < this.steps.length; i += 1) if (isDecision(this.steps[i])) return this.steps[i]; return null; }

  // The time of the next decision or act.
  nextTold(time) {
    const step = this.nextDecision(time), act = this.done[countUpTo(this.done, time, (one) => this.time("", one.at))];
    return Math.min(step ? this.timeOf(step) : Infinity, act ? this.time("", act.at) : Infinity);
  }

  // The step that tells what came after a mark; none if an act came last: a heartbeat must not hide a fault.
  mark() { return { step: this.steps.at(-1), acts: this.done.length }; }
  tellingSince({ step, acts }) {
    const fresh = this.steps.slice(this.steps.lastIndexOf(step) + 1), decision = fresh.findLast(isDecision), act = this.done.length > acts && this.done.at(-1);
    return act && (!decision || act.at >= decision.at) ? null : telling(fresh);
  }

  // The last act up to a time: what it did to links and nodes holds until the next one.
  actUpTo(time) { return this.done[countUpTo(this.done, time, (act) => this.time("", act.at)) - 1] || null; }
  replyUpTo(time) { return this.replies[countUpTo(this.replies, time, (reply) => this.time("", reply.at)) - 1] || null; }
  cuts(time) { return this.isPresent(time) ? this.present.cuts : this.actUpTo(time)?.cuts || []; }
  isPaused(node, time) { return Boolean(this.isPresent(time) ? this.present.nodes[node]?.paused : this.actUpTo(time)?.paused.includes(node)); }

  // Whether the present facts hold at a time. In a run without acts of a reader nothing else is known.
  isPresent(time) { return !this.done.length || time >= this.newest; }

  // The messages that were sent shortly before a time.
  recent(time) {
    const found = [];
    for (let i = countUpTo(this.sent, time, (message) => this.time(message.from, message.at)) - 1; i >= 0; i -= 1) {
      if (this.time(this.sent[i].from, this.sent[i].at) < time - RECENT_S) break;
      found.push(this.sent[i]);
    }
    return found.reverse();
  }
}
