// The pace of the page's clock: how many seconds of a run pass in a second.
// "auto" is slow while messages that matter are on their way, rests at a decision, and hurries through quiet times.
const SLOW = 1 / 70, QUICK = 1 / 4, REST_MS = 1600, EASE = 0.12, AHEAD_S = 0.004;
const GLIDE_MS_OF_MS = 55, GLIDE_LEAST_MS = 320, GLIDE_MOST_MS = 1500;
const READ_LEAST_MS = 1600, READ_MS_OF_CHARACTER = 45, READ_MOST_MS = 9000, STEP_LEAST_MS = 400;
const BIG = ["election", "commit", "conflict", "broken"];

export class Pace {
  constructor(known) { this.known = known; this.fixed = 0; this.rate = SLOW; this.restUntil = 0; this.rested = null; }

  // The seconds of the run after some milliseconds of the screen.
  passed(time, stamp, elapsed_ms) {
    if (this.fixed) return this.fixed * elapsed_ms / 1000;
    if (stamp < this.restUntil) return 0;
    const wanted = this.isBusy(time) ? SLOW : QUICK;
    this.rate = wanted < this.rate ? wanted : this.rate + (wanted - this.rate) * EASE;
    return this.rate * elapsed_ms / 1000;
  }

  isBusy(time) { return this.known.recent(time + AHEAD_S).some((message) => !message.pulse && this.isOnWay(message, time)); }

  isOnWay(message, time) {
    const sent = this.known.time(message.from, message.at);
    if (message.arrived !== null) return time < this.known.time(message.to, message.arrived);
    return time < sent + 0.03;
  }

  // After an act, and after a decision that a reader wants to see, the clock rests.
  crossed(what, stamp) {
    if (this.fixed || !what || what === this.rested) return;
    if (what.k === "step" && !what.tags.some((tag) => BIG.includes(tag))) return;
    this.rested = what; this.restUntil = stamp + REST_MS;
  }

  // The clock rests while a reader reads these words, or, at a speed that the reader chose, for the time that passed in the run.
  read(words, span_s = 0) {
    const rest_ms = this.fixed ? Math.max(STEP_LEAST_MS, 1000 * span_s / this.fixed) : Math.min(READ_MOST_MS, Math.max(READ_LEAST_MS, READ_MS_OF_CHARACTER * words.length));
    this.restUntil = performance.now() + rest_ms;
  }

  glideMs(span_s) { return Math.min(GLIDE_MOST_MS, Math.max(GLIDE_LEAST_MS, span_s * 1000 * GLIDE_MS_OF_MS)); }
}
