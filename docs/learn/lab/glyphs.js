// How a message looks: a colour and a shape for each kind, with a nose in its direction.
export const SVG = "http://www.w3.org/2000/svg";

export function shape(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The kinds by the beginning of a line; `path` is the shape around 0, `sign` is drawn upright in it.
const KINDS = [
  [/^PreVote/, "prevote", "asks who would vote for it"],
  [/^RequestVote/, "vote", "asks for a vote"],
  [/^Count on me.*prevote/, "maybe", "would vote for it"],
  [/^Count on me/, "yes", "gives its vote"],
  [/^Not this time/, "no", "refuses"],
  [/^AppendEntries \d+-\d+-\d+-\[\]/, "beat", "heartbeat"],
  [/^AppendEntries/, "append", "entries"],
  [/^I am up to date/, "ok", "holds the log so far"],
  [/^GiveEntries/, "back", "lacks entries before them"],
];
const LOOKS = {
  prevote: ["M0-12 12 0 0 12-12 0Z", "?"], vote: ["M0-12 12 0 0 12-12 0Z", "?"],
  maybe: ["M-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0", "✓"], yes: ["M-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0", "✓"],
  no: ["M-4.5-10h9L10-4.5v9L4.5 10h-9L-10 4.5v-9Z", "✗"], back: ["M-4.5-10h9L10-4.5v9L4.5 10h-9L-10 4.5v-9Z", "↶"],
  beat: ["M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0", ""], append: ["M-10-9h20v18h-20Z", "+"],
  ok: ["M-6-6 8 0-6 6Z", ""], other: ["M-6-10H6L11 0 6 10H-6L-11 0Z", "!"],
};
const NOSES = { beat: 9, ok: 0 };

export function kindOf(line) { const found = KINDS.find(([pattern]) => pattern.test(line)); return found ? found[1] : "other"; }

// The shape of a message and the sign in it.
export function lookOf(line) { return LOOKS[kindOf(line)]; }

// A message in words, for a screen reader and the card of its acts.
export function sayMessage({ from, to, line }) {
  const found = KINDS.find(([pattern]) => pattern.test(line));
  return `${from} → ${to}: ${found ? found[2] : line.split(" ")[0]}`;
}

// The number of entries that a line carries.
function entriesIn(line) { return (line.match(/"index"/g) || []).length; }

export function glyph(line) {
  const kind = kindOf(line), [path, sign] = lookOf(line), made = shape("g", { class: `glyph k-${kind}` });
  const nose = NOSES[kind] ?? 15, turned = shape("g", { class: "turned" });
  if (nose) turned.append(shape("path", { class: "nose", d: `M${nose - 4}-5 ${nose + 5} 0 ${nose - 4} 5Z` }));
  const body = shape("path", { class: "body", d: path });
  if (kind === "ok") turned.append(body);
  made.append(turned);
  if (kind !== "ok") made.append(body);
  const count = entriesIn(line), text = kind === "append" && count > 1 ? `${count}` : sign;
  if (text) made.append(shape("text", { class: "sign" }, text));
  return { made, turned };
}

// A row of the shapes with their meanings.
export function legend(place) {
  const line = { prevote: "PreVote", vote: "RequestVote", yes: "Count on me", no: "Not this time", append: "AppendEntries 1-0-0-[{", beat: "AppendEntries 1-0-0-[]", ok: "I am up to date" };
  const words = { prevote: "could it win?", vote: "asks for a vote", yes: "a vote", no: "refused", append: "entries", beat: "heartbeat", ok: "stored" };
  place.replaceChildren(...Object.keys(line).map((kind) => {
    const item = document.createElement("span"), picture = shape("svg", { viewBox: "-14 -14 34 28", "aria-hidden": "true" });
    picture.append(glyph(line[kind]).made);
    item.append(picture, words[kind]);
    return item;
  }));
}

// The signs of the time line and of the logs. What a sign means is a word, so that no colour has to say it.
export function key(place) {
  const sign = (name, text, words) => { const item = document.createElement("span"), made = document.createElement("b"); made.className = name; made.textContent = text; item.append(made, ` ${words}`); return item; };
  const row = (...items) => { const made = document.createElement("span"); made.append(...items); return made; };
  place.replaceChildren(row(sign("m-election", "▲", "election"), sign("m-commit", "●", "commit"), sign("m-conflict", "◆", "logs differ"), sign("m-client", "↓", "client"), sign("m-act", "⚡", "fault")),
    row(sign("", "8", "term"), sign("frame", "", "committed"), sign("", "✓", "applied"), sign("", "•", "match"), sign("", "▸", "next")));
}
