// The story beside the stage: the first one in five steps, and the others with a question. What a
// reader has seen and answered is kept in the browser.
import { element } from "../../../extensions/picture/view/static/cards.js";

const KEY = "raftline lab", FIRST = "first", NONE = "none", AT_FIRST = /^first=(\d{1,6})$/;

// The moment of the first story that an address opens, in milliseconds, or null if it opens another run.
export function firstIn(address) { return address ? AT_FIRST.exec(address)?.[1] ?? null : 0; }

function read() { try { return JSON.parse(localStorage.getItem(KEY)) || {}; } catch { return {}; } }
function write(progress) { try { localStorage.setItem(KEY, JSON.stringify(progress)); } catch { /* a browser may refuse it */ } }

export class Tale {
  // `lab` has `goOn()`, `goToStart()`, `judge(choice)`, `openStory(name)`, `openFirst()` and `openFree()`.
  constructor(place, list, lab) {
    this.place = place; this.list = list; this.lab = lab; this.titles = []; this.first = null; this.chapter = 0; this.key = null; this.plan = ""; this.isOwn = false;
    list.addEventListener("change", () => { if (list.value === FIRST) lab.openFirst(); else if (list.value === NONE) lab.openFree(); else lab.openStory(list.value); });
    this.showList();
  }

  get done() { return read().done || []; }

  // The titles of the stories, from easy to hard.
  setTitles(titles) { this.titles = titles; this.key = null; this.showList(); }

  showList() {
    const { done } = this, kept = this.list.value || NONE;
    this.list.replaceChildren(element("option", `${done.includes(FIRST) ? "✓ " : ""}The first five steps`, { value: FIRST }), ...this.titles.map(([name, title], place) => element("option", `${done.includes(name) ? "✓ " : ""}${place + 1}. ${title}`, { value: name })), element("option", "Free run", { value: NONE }));
    this.list.value = kept;
    const count = this.titles.filter(([name]) => done.includes(name)).length;
    document.getElementById("answered").textContent = count ? `${count} of ${this.titles.length} answered` : "Story";
  }

  // When playing pauses by itself, in milliseconds.
  get end_ms() { return this.isOwn ? Infinity : this.first ? this.first.chapters[this.chapter].until_ms : this.story ? this.story.end_ms : Infinity; }
  get hasEnded() { return !this.isOwn && (this.first ? this.chapter === this.first.chapters.length - 1 : Boolean(this.story)); }

  startFirst(first, ms) { this.first = first; this.story = null; this.chapter = Math.max(0, first.chapters.findIndex((one) => ms <= one.until_ms)); this.isOwn = false; this.plan = ""; this.key = null; this.list.value = FIRST; this.show(ms); }

  // Takes the facts: another run, or acts that are not the story's.
  take(facts, isSame) {
    const lines = (facts.address || "").split(";"), acts = lines.filter((line) => /^\d+(ms)?%20/.test(line)).join(";");
    if (facts.story && (!this.story || this.story.name !== facts.story.name || (facts.anew && !isSame))) {
      this.first = null; this.story = facts.story; this.key = null; this.list.value = facts.story.name;
    } else if (!facts.story && !this.first) { this.story = null; this.list.value = NONE; }
    if (this.first && !this.plan) this.plan = acts;
    const isOwn = facts.story ? facts.story.own : Boolean(this.first && this.plan !== acts);
    if (isOwn !== this.isOwn) { this.isOwn = isOwn; this.key = null; }
    this.moment = lines.find((line) => line.startsWith("at%20")) || "";
  }

  // The address of the present moment: in a story, one that opens the story again.
  addressOf(facts, ms) {
    if (this.first && !this.isOwn) return ms > this.first.from_ms ? `${FIRST}=${ms}` : "";
    if (!facts.story) return facts.address;
    return [`story=${facts.story.name}`, this.isOwn ? facts.address : this.moment].filter(Boolean).join(";");
  }

  leaveFirst() { this.first = null; this.key = null; this.isOwn &&= Boolean(this.story); }

  show(ms) {
    const seen = this.first ? ms >= this.first.chapters[this.chapter].until_ms : this.story ? ms >= this.story.end_ms : false;
    const key = `${this.first ? `first ${this.chapter}` : this.story ? this.story.name : ""} ${seen} ${this.isOwn}`;
    if (key === this.key) return;
    this.key = key;
    this.place.hidden = !this.first && !this.story;
    if (this.isOwn) this.showOwn();
    else if (this.first) this.showChapter(seen);
    else if (this.story) this.showStory(seen);
  }

  showOwn() {
    const { first, story } = this, back = element("button", "Back to the story", { type: "button", id: "again" });
    back.addEventListener("click", () => (first ? this.lab.openFirst() : this.lab.openStory(story.name)));
    this.place.replaceChildren(element("h2", "This is your own run now"), element("p", `You left the plan of “${first ? "The first five steps" : story.title}”, so its sentences no longer apply. The address is your run's.`), back, ...story && "own" in story ? this.question(story, "") : []);
  }

  showChapter(seen) {
    const { chapters } = this.first, { title, watch } = chapters[this.chapter], isLast = this.chapter === chapters.length - 1;
    const next = element("button", isLast ? "Go on to twelve stories ▸" : `Next: ${chapters[this.chapter + 1].title} ▸`, { type: "button", id: "chapter" });
    next.disabled = !seen; next.hidden = isLast && !this.titles.length;
    next.addEventListener("click", () => {
      if (isLast) { this.mark(FIRST); this.lab.openStory(this.titles[0][0]); return; }
      this.chapter += 1; this.key = null; this.lab.goOn();
    });
    const dots = element("p", undefined, { class: "dots", role: "img", "aria-label": `step ${this.chapter + 1} of ${chapters.length}` });
    dots.append(...chapters.map((_, place) => element("span", "", { class: place < this.chapter || (place === this.chapter && seen) ? "seen" : place === this.chapter ? "now" : "" })));
    this.place.replaceChildren(dots, element("h2", `${this.chapter + 1}. ${title}`), element("p", watch, { class: "watch" }), next);
  }

  showStory(seen) {
    const { story } = this;
    const start = element("button", "From the start", { type: "button", id: "from-start" });
    start.hidden = !story.begin_ms;
    start.addEventListener("click", () => this.lab.goToStart());
    const watch = element("p", `${story.sentences.join(" ")} `, { class: "watch" });
    watch.append(start);
    this.place.replaceChildren(element("h2", `${story.title} (${story.section})`), watch, ...this.question(story, seen ? "The story ends here: answer, and see." : ""));
  }

  // The question with its choices. A world that says whether the run is the reader's own also judges by that run.
  question(story, words) {
    const verdict = element("p", words, { class: "verdict", role: "status" }), row = element("div", undefined, { class: "orders", role: "group", "aria-label": "Answers to the question" });
    for (const choice of story.choices) {
      const button = element("button", choice, { type: "button", "data-choice": choice });
      button.addEventListener("click", async () => {
        const isRight = await this.lab.judge(choice);
        for (const one of row.querySelectorAll("[data-choice]")) one.setAttribute("aria-pressed", String(one === button));
        verdict.classList.toggle("right", isRight);
        verdict.textContent = isRight ? `Yes: the world says ${choice}.${this.isOwn ? "" : ` ${story.because}`}` : `Not ${choice}. Look at the nodes at ${story.end_ms} ms.`;
        if (isRight) { this.mark(story.name); this.offerNext(story, row); }
      });
      row.append(button);
    }
    return [element("p", story.question, { class: "question" }), row, verdict];
  }

  offerNext(story, row) {
    const place = this.titles.findIndex(([name]) => name === story.name), next = this.titles[place + 1];
    if (!next || row.querySelector("#next-story")) return;
    const button = element("button", `Next: ${next[1]} ▸`, { type: "button", id: "next-story" });
    button.addEventListener("click", () => this.lab.openStory(next[0]));
    row.append(button);
  }

  mark(name) { const progress = read(); write({ ...progress, done: [...new Set([...(progress.done || []), name])] }); this.showList(); }
}
