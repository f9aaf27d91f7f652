// The space-time diagram: a lane for each node, time to the right, an arrow for each message.
import { MANY } from "./cards.js";
import { hueOf } from "./model.js";

// A message's colour and the end of its arrow, by the beginning of its line.
const LOOKS = [
  [/^(RequestVote|PreVote)/, "--purple", "hollow"], [/^(Count on me|I am up to date)/, "--green", "disc"], [/^(Not this time|GiveEntries)/, "--red", "bar"],
  [/^/, "--blue", "triangle"],
];
export function lookOf(line) { return LOOKS.find(([pattern]) => pattern.test(line)).slice(1); }

const TOP = 26, LEFT = 46, ARROWS_MAX = 800, NEAR = 7, STUB = 12, LABELS_MAX = 40, LABEL_ROOM = 80;
const UNKNOWN_S = 0.02;  // the length of an arrow if nobody knows when its message was lost

export class Diagram {
  constructor(canvas, model, view) {
    this.canvas = canvas; this.model = model; this.view = view; this.spots = []; this.thin = 0;
  }

  // The end of an arrow: a triangle for entries, a hollow one for a question, a disc for a yes, a bar for a no.
  head(look, x, y, angle) {
    const { g } = this, at = (far, turn) => [x + far * Math.cos(angle + turn), y + far * Math.sin(angle + turn)];
    g.beginPath();
    if (look === "disc") { g.arc(...at(-4, 0), 4, 0, 7); g.fill(); return; }
    if (look === "bar") { g.moveTo(...at(6, Math.PI / 2)); g.lineTo(...at(6, -Math.PI / 2)); g.lineWidth += 2; g.stroke(); return; }
    g.moveTo(x, y); g.lineTo(...at(8, 2.75)); g.lineTo(...at(8, -2.75)); g.closePath();
    if (look === "hollow") { g.fillStyle = this.ink("--paper"); g.fill(); g.stroke(); } else g.fill();
  }

  // A step of an election, a conflict or a broken rule has a shape of its own.
  point(tags, x, y, size) {
    const { g } = this, corners = tags.includes("conflict") ? [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]] : tags.includes("election") ? [[0, -1.3], [1.2, 1], [-1.2, 1]] : null;
    g.beginPath();
    if (tags.includes("broken")) { g.lineWidth = 3; for (const way of [1, -1]) { g.moveTo(x - size, y - way * size); g.lineTo(x + size, y + way * size); } g.stroke(); return; }
    if (corners) for (const [right, down] of corners) g.lineTo(x + size * right, y + size * down); else g.arc(x, y, size, 0, 7);
    g.fill();
  }

  draw(now) {
    const { canvas, model, view } = this, scale = window.devicePixelRatio || 1;
    const count = model.members.length, most = count < MANY ? (innerWidth > 500 ? 340 : 280) : 50 + 62 * count;
    const tall = `${Math.max(50 + 30 * count, Math.min(most, (count < MANY ? 0.32 : 0.27) * innerHeight))}px`;
    canvas.dataset.span = view.span;
    if (canvas.style.height !== tall) canvas.style.height = tall;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(document.documentElement);
    this.ink = (name) => style.getPropertyValue(name).trim();
    this.dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const g = canvas.getContext("2d");
    g.setTransform(scale, 0, 0, scale, 0, 0);
    g.clearRect(0, 0, width, height);
    this.g = g; this.width = width; this.spots = []; this.boxes = canvas.boxes = []; this.crosses = canvas.crosses = [];
    const lanes = model.members, gap = (height - TOP - 24) / Math.max(1, lanes.length);
    this.lane = (node) => TOP + gap * (lanes.indexOf(node) + 0.5);
    this.from = view.end - view.span;
    this.x = (time) => LEFT + (time - this.from) / view.span * (width - LEFT - 10);
    this.axis(height);
    for (const node of lanes) this.band(node, now);
    this.acts();
    this.arrows();
    for (const node of lanes) this.points(node);
    this.moment();
    g.fillStyle = this.ink("--ink"); g.font = "600 14px system-ui, sans-serif"; g.textAlign = "left";
    for (const node of lanes) {
      g.clearRect(0, this.lane(node) - 12, LEFT - 8, 24);
      g.fillText(node, 8, this.lane(node) + 5, LEFT - 14);
    }
  }

  // Write a label, unless it would touch another one: it is left out then.
  write(text, x, y, turn = 0) {
    const { g } = this, wide = g.measureText(text).width, from = g.textAlign === "center" ? -wide / 2 : 0;
    const corners = [[from, -10], [from + wide, -10], [from, 3], [from + wide, 3]].map(([right, down]) =>
      [x + right * Math.cos(turn) - down * Math.sin(turn), y + right * Math.sin(turn) + down * Math.cos(turn)]);
    const [xs, ys] = [corners.map((corner) => corner[0]), corners.map((corner) => corner[1])];
    const box = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    if (this.boxes.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) return;
    this.boxes.push(box);
    g.save(); g.translate(x, y); g.rotate(turn); g.fillText(text, 0, 0); g.restore();
  }

  // The orders from the page.
  acts() {
    const { g, model, view } = this;
    g.fillStyle = g.strokeStyle = this.ink("--red"); g.font = "600 11px system-ui, sans-serif"; g.textAlign = "left";
    for (const act of model.acts) {
      const time = act.at - (model.origin || 0), x = this.x(time), y = this.lane(act.node);
      if (time < this.from || time > view.end || !model.members.includes(act.node)) continue;
      g.beginPath(); g.moveTo(x, y - 22); g.lineTo(x, y + 22); g.stroke();
      this.write(act.text, x + 3, y + 22);
    }
  }

  // The moment that the cards and the logs show.
  moment() {
    const { g, view } = this;
    if (!view.marked || view.shown < this.from) return;
    g.strokeStyle = this.ink("--ink"); g.lineWidth = 1; g.setLineDash([2, 3]);
    g.beginPath(); g.moveTo(this.x(view.shown), 16); g.lineTo(this.x(view.shown), this.canvas.clientHeight); g.stroke();
    g.setLineDash([]);
  }

  axis(height) {
    const { g, view } = this, steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60];
    const every = steps.find((step) => view.span / step <= this.width / 90) || 60;
    g.font = "11px system-ui, sans-serif"; g.textAlign = "center"; g.lineWidth = 1;
    for (let t = Math.max(0, Math.ceil(this.from / every) * every); t <= view.end; t += every) {
      g.strokeStyle = this.ink("--line"); g.beginPath(); g.moveTo(this.x(t), 18); g.lineTo(this.x(t), height); g.stroke();
      g.fillStyle = this.ink("--soft"); g.fillText(`${t.toFixed(every < 0.01 ? 3 : every < 0.1 ? 2 : every < 1 ? 1 : 0)} s`, this.x(t), 13);
    }
  }

  // Terms and roles of a node as a coloured band.
  band(node, now) {
    const { g, model } = this, y = this.lane(node), life = model.lives.get(node) || [];
    let open = null;
    const close = (until) => {
      if (!open) return;
      const left = Math.max(LEFT, this.x(open.at)), right = Math.min(this.width - 10, this.x(until));
      if (right > left) this.stretch(open.role, open.term, left, right, y);
      open = null;
    };
    for (const event of life) {
      const at = model.time(node, event.at);
      if (at > this.view.end) break;
      if (event.k === "end") { close(at); continue; }
      const state = event.k === "begin" ? event.state : event;
      if (!open || open.role !== state.role || open.term !== state.term) {
        close(at); open = { at, role: state.role, term: state.term };
      }
    }
    if (open) close(Math.min(this.view.end, Math.max(now, open.at)));
    g.strokeStyle = this.ink("--soft"); g.lineWidth = 1;
    g.beginPath(); g.moveTo(LEFT, y); g.lineTo(this.width - 10, y); g.stroke();
  }

  stretch(role, term, left, right, y) {
    const { g } = this, half = role === "leader" ? 11 : role === "follower" ? 5 : 8;
    const light = this.dark ? (role === "leader" ? 48 : 30) : (role === "leader" ? 62 : 82);
    g.fillStyle = `hsl(${hueOf(term)} 65% ${light}%)`;
    g.fillRect(left, y - half, right - left, 2 * half);
    if (role.endsWith("candidate")) {
      g.save(); g.beginPath(); g.rect(left, y - half, right - left, 2 * half); g.clip();
      g.strokeStyle = this.ink("--ink"); g.lineWidth = 1;
      for (let x = left - 20; x < right; x += role === "candidate" ? 6 : 12) {
        g.beginPath(); g.moveTo(x, y + half); g.lineTo(x + 2 * half, y - half); g.stroke();
      }
      g.restore();
    }
    if (right - left > 92) {
      g.fillStyle = this.ink("--ink"); g.font = "11px system-ui, sans-serif"; g.textAlign = "left";
      this.write(`${role}, term ${term}`, left + 3, y - half - 3);
    }
  }

  arrows() {
    const { g, model, view } = this, shown = [], seconds = new Map();
    for (const message of model.messages.values()) {
      const sent = model.time(message.from, message.at), isPulse = model.isPulse(message);
      if (!view.pulses && isPulse) {  // one a second from each node to each other: the cluster lives
        const way = `${message.from} ${message.to}`, second = Math.floor(sent);
        if (seconds.get(way) === second) continue;
        seconds.set(way, second);
      }
      const ends = this.endOf(message, sent);
      if (sent > view.end || (ends === null ? sent + 2 : ends) < this.from) continue;
      if (!model.members.includes(message.to)) continue;
      shown.push([message, sent, ends]);
    }
    this.canvas.dataset.arrows = shown.length;
    this.thin = Math.max(0, shown.length - ARROWS_MAX);
    const every = shown.length > ARROWS_MAX ? shown.length / ARROWS_MAX : 1;
    g.save(); g.beginPath(); g.rect(LEFT - 8, 0, this.width - LEFT, this.canvas.clientHeight); g.clip();
    this.labels = shown.length <= LABELS_MAX;
    for (let i = 0; i < shown.length; i += every) this.arrow(...shown[Math.floor(i)]);
    g.restore();
  }

  // When a message arrived or was lost, or null if it is in flight.
  endOf(message, sent) {
    if (message.arrived !== null) return this.model.time(message.to, message.arrived);
    if (!message.lost) return null;
    return message.lost.at === null ? sent + UNKNOWN_S : this.model.time(message.from, message.lost.at);
  }

  // The height at which a message was lost: next to one of its lanes, or past the lanes between them.
  lostAt(where, y1, y2, onWay) {
    const down = Math.sign(y2 - y1);
    return where === "sender" ? y1 + STUB * down : where === "receiver" ? y2 - STUB * down : onWay;
  }

  arrow(message, sent, ends) {
    const { g, view } = this, x1 = this.x(sent), y1 = this.lane(message.from), y2 = this.lane(message.to);
    const isOpen = ends === null || ends > view.end, isLost = !isOpen && Boolean(message.lost);
    const until = isOpen ? Math.min(view.end, sent + 0.02) : ends;
    // A message in flight ends short of its receiver's lane, but past the lanes between.
    const lanes = Math.abs(this.model.members.indexOf(message.to) - this.model.members.indexOf(message.from)) || 1;
    const onWay = y2 - (y2 - y1) * 0.4 / lanes;
    const x2 = this.x(until), end = isLost ? this.lostAt(message.lost.where, y1, y2, onWay) : isOpen ? onWay : y2;
    const chosen = view.chosen && view.chosen.k === "message" && view.chosen.id === message.id, [colour, look] = lookOf(message.line);
    g.strokeStyle = g.fillStyle = this.ink(isLost ? "--red" : message.late ? "--amber" : colour);
    g.globalAlpha = message.pulse && !chosen ? 0.45 : 1; g.lineWidth = chosen ? 3.5 : 1.3;
    g.setLineDash(/prevote|PreVote/.test(message.line) ? [5, 3] : []);
    g.beginPath(); g.moveTo(x1, y1); g.lineTo(x2, end); g.stroke();
    g.setLineDash([]);
    if (isLost) {
      g.font = "600 13px system-ui"; g.textAlign = "center"; g.fillText("✕", x2, end + 4);
      this.crosses.push([x2, end]);
    }
    else if (!isOpen) {
      this.head(look, x2, end, Math.atan2(end - y1, x2 - x1));
      if (message.late) { g.font = "12px system-ui"; g.fillText("⚠", (x1 + x2) / 2, (y1 + end) / 2); }
    }
    if (this.labels && (view.pulses || !message.pulse) && Math.hypot(x2 - x1, end - y1) > LABEL_ROOM) this.label(message.line, x1, y1, x2, end);
    g.globalAlpha = 1;
    this.spots.push({ what: message, x1, y1, x2, y2: end });
  }

  // The first words of a line, along its arrow.
  label(line, x1, y1, x2, y2) {
    const { g } = this, words = /^(Count on me|Not this time|I am up to date|\w+)/.exec(line);
    const turn = Math.atan2(y2 - y1, x2 - x1), upright = Math.abs(turn) > Math.PI / 2 ? turn + Math.PI : turn;
    g.font = "10px system-ui, sans-serif";
    g.textAlign = "center";
    if (words) this.write(words[0], (x1 + x2) / 2 + 3 * Math.sin(upright), (y1 + y2) / 2 - 3 * Math.cos(upright), upright);
  }

  points(node) {
    const { g, model, view } = this, y = this.lane(node);
    for (const step of model.lives.get(node) || []) {
      if (step.k !== "step" || (step.pulse && !view.pulses)) continue;
      const time = model.time(node, step.at);
      if (time < this.from || time > view.end) continue;
      const x = this.x(time), chosen = view.chosen === step;
      const broken = step.tags.includes("broken");
      g.fillStyle = g.strokeStyle = this.ink(broken ? "--red" : step.tags.includes("conflict") ? "--amber" : step.tags.includes("election") ? "--purple" : step.tags.includes("commit") ? "--green" : "--ink");
      this.point(step.tags, x, y, chosen || broken ? 6 : step.tags.length ? 3.6 : 2.2);
      if (step.id === view.failed) this.ring(x, y);
      this.spots.push({ what: step, x1: x, y1: y, x2: x, y2: y });
    }
  }

  // The frame around the failed step.
  ring(x, y) {
    const { g } = this;
    g.strokeStyle = this.ink("--red"); g.lineWidth = 2.5;
    g.strokeRect(x - 14, y - 22, 28, 44);
    g.font = "700 13px system-ui"; g.fillStyle = this.ink("--red"); g.textAlign = "center";
    g.fillText("✗ failed", x, y + 37);
  }

  // The step or the message at a point: a step takes precedence over a message.
  hit(x, y) {
    let best = null, least = NEAR;
    for (const spot of this.spots) {
      const dx = spot.x2 - spot.x1, dy = spot.y2 - spot.y1, square = dx * dx + dy * dy;
      const share = square ? Math.max(0, Math.min(1, ((x - spot.x1) * dx + (y - spot.y1) * dy) / square)) : 0;
      const far = Math.hypot(x - spot.x1 - share * dx, y - spot.y1 - share * dy) - (square ? 0 : 3);
      if (far < least) { least = far; best = spot.what; }
    }
    return best;
  }
}
