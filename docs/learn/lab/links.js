// A map of the links. A stroke across a link cuts it both ways, and a stroke from a node to another
// one cuts that way alone; the same stroke mends a cut link.
const SVG = "http://www.w3.org/2000/svg", SIZE = 120, RING = 44, NODE = 11, GRIP = 15;

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Whether two stretches cross: each has the ends of the other one on both of its sides.
function cross([a, b], [c, d]) {
  const side = (p, q, r) => Math.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]));
  return side(a, b, c) !== side(a, b, d) && side(c, d, a) !== side(c, d, b);
}

export class LinkMap {
  // `act` does an act, and returns a promise.
  constructor(place, act) {
    this.place = place; this.act = act; this.spots = new Map(); this.cuts = new Set(); this.start = null; this.shown = "";
    place.setAttribute("viewBox", `0 0 ${SIZE} ${SIZE}`);
    this.stroke = shape("line", { class: "stroke", visibility: "hidden" });
    place.addEventListener("pointerdown", (event) => this.begin(event));
    place.addEventListener("pointermove", (event) => this.draw(event));
    place.addEventListener("pointerup", (event) => this.end(event));
    place.addEventListener("pointercancel", () => this.stop());
  }

  show(members, cuts) {
    const shown = JSON.stringify([members, cuts]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.cuts = new Set(cuts.map((link) => link.join(" ")));
    this.spots = new Map(members.map((name, place) => {
      const turn = 2 * Math.PI * place / members.length - Math.PI / 2;
      return [name, [SIZE / 2 + RING * Math.cos(turn), SIZE / 2 + RING * Math.sin(turn)]];
    }));
    const lines = this.pairs().map(([one, other]) => this.line(one, other));
    const nodes = members.map((name) => this.node(name));
    this.place.replaceChildren(...lines, ...nodes, this.stroke);
  }

  pairs() {
    const names = [...this.spots.keys()];
    return names.flatMap((one, place) => names.slice(place + 1).map((other) => [one, other]));
  }

  isCut(from, to) { return this.cuts.has(`${from} ${to}`); }

  line(one, other) {
    const [[x1, y1], [x2, y2]] = [this.spots.get(one), this.spots.get(other)];
    const ways = [this.isCut(one, other), this.isCut(other, one)], count = ways.filter(Boolean).length;
    const group = shape("g", { class: ["whole", "half", "cut"][count] });
    group.append(shape("line", { x1, y1, x2, y2 }));
    // The mark of a cut in one direction is nearer to its sender.
    if (count) {
      const share = count === 2 ? 0.5 : ways[0] ? 0.33 : 0.67;
      group.append(shape("text", { x: x1 + share * (x2 - x1), y: y1 + share * (y2 - y1) }, "✕"));
    }
    return group;
  }

  node(name) {
    const [x, y] = this.spots.get(name), group = shape("g", { class: "end" });
    group.append(shape("circle", { cx: x, cy: y, r: NODE }), shape("text", { x, y }, name));
    return group;
  }

  // --- strokes --------------------------------------------------------------------------------

  point(event) {
    const box = this.place.getBoundingClientRect(), scale = SIZE / Math.min(box.width, box.height);
    return [(event.clientX - box.left - box.width / 2) * scale + SIZE / 2, (event.clientY - box.top - box.height / 2) * scale + SIZE / 2];
  }

  begin(event) {
    if (event.button) return;
    this.start = this.point(event);
    this.place.setPointerCapture(event.pointerId);
  }

  draw(event) {
    if (!this.start) return;
    const [[x1, y1], [x2, y2]] = [this.start, this.point(event)];
    for (const [key, value] of Object.entries({ x1, y1, x2, y2, visibility: "visible" })) this.stroke.setAttribute(key, value);
  }

  stop() { this.start = null; this.stroke.setAttribute("visibility", "hidden"); }

  async end(event) {
    if (!this.start) return;
    const stroke = [this.start, this.point(event)];
    this.stop();
    for (const text of this.actsOf(stroke)) await this.act(text);
  }

  nodeAt([x, y]) {
    for (const [name, spot] of this.spots) if (Math.hypot(spot[0] - x, spot[1] - y) <= GRIP) return name;
    return null;
  }

  actsOf(stroke) {
    const [from, to] = stroke.map((point) => this.nodeAt(point));
    if (from && to) return from === to ? [] : [this.isCut(from, to) ? `mend ${from} ${to}` : `cut ${from} -> ${to}`];
    return this.pairs()
      .filter(([one, other]) => cross(stroke, [this.spots.get(one), this.spots.get(other)]))
      .map(([one, other]) => (this.isCut(one, other) || this.isCut(other, one) ? `mend ${one} ${other}` : `cut ${one} | ${other}`));
  }
}
