// The list of events, which is the picture as text.
import { element } from "./cards.js";
import { headline } from "./model.js";

const SHOWN = 120;

export class Events {
  constructor(list, news, model, choose) {
    this.list = list; this.news = news; this.model = model; this.choose = choose; this.last = ""; this.said = 0;
    this.follows = true;  // the reader is at the end of the list, and stays there
    list.addEventListener("scroll", () => { if (list.scrollTop !== this.placed) this.follows = this.isAtEnd(); });
    new ResizeObserver(() => this.follow()).observe(list);
  }

  isAtEnd() { return this.list.scrollTop + this.list.clientHeight > this.list.scrollHeight - 40; }

  follow() {
    if (!this.follows) return;
    this.list.scrollTop = this.list.scrollHeight;
    this.placed = this.list.scrollTop;
  }

  show(time, view) {
    const steps = this.model.upTo(time, "", view.pulses, SHOWN);
    const ends = steps.length ? `${steps[0].id} ${steps[steps.length - 1].id} ${steps.length}` : "";
    const key = `${ends} ${view.chosen ? view.chosen.id : ""}`;
    if (key === this.last) return;
    this.last = key;
    this.follows ||= this.isAtEnd();
    const held = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.step : undefined;
    this.list.replaceChildren(...steps.map((step) => this.item(step, view)));
    if (held) { const again = this.list.querySelector(`[data-step="${held}"]`); if (again) again.focus({ preventScroll: true }); }
    const current = this.list.querySelector("[aria-current]");
    if (current) this.list.scrollTop = current.offsetTop - this.list.offsetTop - this.list.clientHeight / 2;
    else this.follow();
    this.tell(steps);
  }

  item(step, view) {
    const item = element("li"), button = element("button", undefined, { type: "button", "data-step": step.id });
    if (step.tags.includes("broken")) button.classList.add("broken");
    if (view.chosen === step) button.setAttribute("aria-current", "true");
    button.append(element("time", this.model.time(step.node, step.at).toFixed(3)), document.createTextNode(headline(step)));
    button.addEventListener("click", () => this.choose(step));
    item.append(button);
    return item;
  }

  // Only elections are announced to screen readers.
  tell(steps) {
    const news = steps.filter((step) => step.tags.includes("election") && step.id > this.said).pop();
    if (!news) return;
    this.said = news.id;
    this.news.textContent = `${this.model.time(news.node, news.at).toFixed(3)} s: ${news.node} is ${news.role} in term ${news.term}`;
  }
}
