// The sentences of a saved run, one at a time, each with its period of time.
const LEAST_S = 0.02, EDGE = 0.2, HALF_STEP_S = 0.0005;

export class Story {
  constructor(section, model, frame) {
    [this.section, this.model, this.frame, this.parts, this.number] = [section, model, frame, [], 0];
    this.find("back").addEventListener("click", () => this.to(this.number - 1));
    this.find("on").addEventListener("click", () => this.to(this.number + 1));
  }

  find(part) { return this.section.querySelector(`[data-part="${part}"]`); }

  begin(parts = []) {
    this.parts = parts;
    this.section.hidden = !parts.length;
    if (parts.length) this.to(0);
  }

  // The time of the first step in a period, except heartbeats. A period without steps is a wait.
  first(from, until) {
    const times = this.model.steps.filter((step) => !step.pulse).map((step) => this.model.time(step.node, step.at));
    const within = times.filter((time) => time > from + HALF_STEP_S && time < until + HALF_STEP_S);
    return within.length ? Math.min(...within) : from;
  }

  // The end of a period: the next one begins there.
  until(number) { return number < this.parts.length - 1 ? this.parts[number + 1].at - this.model.origin : this.model.newest; }

  // Says the sentence of the period that has this moment.
  follow(moment) {
    const found = this.parts.findIndex((_, number) => moment < this.until(number) + HALF_STEP_S);
    if (this.parts.length) this.say(found < 0 ? this.parts.length - 1 : found);
  }

  // Goes to the next sentence, or the one before; returns whether this run has any.
  turn(by) { if (this.parts[this.number + by]) this.to(this.number + by); return this.parts.length > 0; }

  say(number) {
    const last = this.parts.length - 1;
    this.number = number;
    this.find("text").textContent = this.parts[number].text;
    this.find("count").textContent = `${number + 1} of ${last + 1}`;
    this.find("back").disabled = number === 0;
    this.find("on").disabled = number === last;
  }

  to(number) {
    const from = this.parts[number].at - this.model.origin, until = this.until(number);
    const length = Math.max(LEAST_S, until - this.first(from, until));
    this.frame(Math.max(0, until - (1 + EDGE) * length), until + HALF_STEP_S);  // the cards show its end
    this.say(number);
  }
}
