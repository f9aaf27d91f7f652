// The panel: what just happened, why, and the line on the wire.
import { element } from "../../../extensions/picture/view/static/cards.js";

const SOURCES = "../../src/raft/";
const WHY_MAX = 4;
const NONE = "Nothing has happened yet. The ring around each node is its election timer: when it has run out, the node asks for votes. Play runs on; Next goes to what happens next.";
const ACTS = [
  [/^crash (\S+)$/, "$1 crashes. Its files stay on its disk."], [/^power (\S+)$/, "The power of $1 fails."], [/^restart (\S+)$/, "$1 starts again, with the files that it left."],
  [/^pause (\S+)$/, "$1 is paused: time passes, and it takes no input."], [/^resume (\S+)$/, "$1 goes on."], [/^lose log (\S+)$/, "$1 loses its log, and starts again."],
  [/^slow disk (\S+) 0$/, "The disk of $1 is fast again."], [/^slow disk (\S+) (\d+)$/, "Each write of $1 takes $2 ms now."], [/^hold disk (\S+)$/, "The disk of $1 hangs: no write returns."],
  [/^release disk (\S+)$/, "The disk of $1 returns its writes again."], [/^cut (\S+)$/, "$1 is cut off: no message leaves or reaches it."],
  [/^cut (.+) -> (.+)$/, "Messages from $1 to $2 are lost from now on."], [/^cut (.+) \| (.+)$/, "The network is cut between $1 and $2."],
  [/^mend (\S+) (\S+)$/, "The link between $1 and $2 is mended."], [/^heal$/, "All links are mended."], [/^(\S+) <- ([\w#-]+)@(.+)$/, "$2 sends to $1: $3"],
  [/^(\S+) hands over to (\S+)$/, "$1 is asked to hand over to $2."], [/^deliver \d+$/, "The message is delivered."], [/^drop \d+$/, "The message is dropped."],
  [/^double \d+$/, "The message is doubled."], [/^hold \d+$/, "The message is held."], [/^edit (\S+) .*$/, "The log file of $1 is edited."], [/^join (\S+)$/, "$1 starts, without a list of members."],
];
// What a node answers to a client, without the word for the kind of answer.
export const REPLY = /^(\S+) <- ([^\s@]+)@(?:\w+ response: )?(.*)$/;
const HEARD = {
  RequestVote: (step) => (/^PreVote/.test(step.line) ? `${step.from} asks ${step.node}: would you vote for me?` : `${step.from} asks ${step.node} for its vote`),
  RequestVoteReply: (step) => `The answer of ${step.from} reaches ${step.node}`,
  AppendEntries: (step) => (/-\[\]/.test(step.line) ? `A heartbeat of ${step.from} reaches ${step.node}` : `Entries of ${step.from} reach ${step.node}`),
  AppendAccepted: (step) => `${step.from} tells ${step.node} what it holds`, AppendRejected: (step) => `${step.from} refuses what ${step.node} sent`,
  Tick: (step) => { const [[why] = [""]] = step.why; return /so I give up/.test(why) ? `${step.node} hears no majority` : /timer has run out/.test(why) ? `The timer of ${step.node} has run out` : /^a heartbeat is due/.test(why) ? `${step.node} sends heartbeats` : `Time passes at ${step.node}`; },
  Propose: (step) => `A client asks ${step.node}: ${step.in.replace(/^Propose /, "")}`, Start: (step) => `${step.node} starts`,
  Read: (step) => `A client reads at ${step.node}`, Transfer: (step) => `${step.node} is asked to hand over`, TimeoutNow: (step) => `${step.from} tells ${step.node} to stand at once`,
  ChangeMembers: (step) => `${step.node} is asked to change the members`, InstallSnapshot: (step) => `A snapshot of ${step.from} reaches ${step.node}`, InstallSnapshotReply: (step) => `${step.from} answers about a snapshot`,
  Synced: (step) => `The disk of ${step.node} has written`, Applied: (step) => `${step.node} has applied an entry`,
};

export function sayAct(text) { const found = ACTS.find(([pattern]) => pattern.test(text)); return found ? text.replace(...found) : text; }
export function sayHappened(step) { return HEARD[step.kind] ? HEARD[step.kind](step) : `${step.node}: ${step.in}`; }

export class Panel {
  constructor(place, news, known) { this.place = place; this.news = news; this.known = known; this.forget(); }

  // What is shown is of another run, or of another moment.
  forget() { this.last = undefined; }

  // Shows the last decision, or the last act, up to a time; `step` is one that the reader chose.
  show(time, step, isPlaying) {
    const isBegin = !step && this.known.stepsUpTo(time) <= this.known.members.length;  // nodes have started, and no more
    const decision = step || (isBegin ? null : this.known.decision(time)), act = step ? null : this.known.actUpTo(time);
    const what = act && (!decision || act.at >= decision.at) ? act : decision;
    if (what === this.last) return what;
    this.last = what;
    if (!what) this.place.replaceChildren(element("p", NONE, { class: "said" }));
    else if (what === act) this.showAct(act);
    else this.showStep(decision);
    if (!isPlaying || (what && what.tags && what.tags.includes("election"))) this.news.textContent = this.sentence(what);
    return what;
  }

  sentence(what) {
    if (!what) return NONE;
    if (what.text) return sayAct(what.text);
    return `${sayHappened(what)}. ${what.node}: ${what.why.map((one) => one[0]).join("; ")}`;
  }

  showAct(act) {
    this.place.replaceChildren(element("p", `at ${this.known.ms(this.known.time("", act.at))} ms`, { class: "who" }), element("p", sayAct(act.text), { class: "said" }),
      element("code", act.text, { class: "wire" }));
  }

  showStep(step) {
    const rows = [element("p", `${step.node}, term ${step.term}, at ${this.known.ms(this.known.timeOf(step))} ms`, { class: "who" }),
      element("h2", sayHappened(step), { class: "said" }), this.reasons(step)];
    if (step.line) rows.push(element("h3", "The line on the wire"), element("code", `${step.from}@${step.line}`, { class: "wire" }));
    if (step.changed.length) rows.push(element("p", step.changed.join(" · "), { class: "changed" }));
    this.place.replaceChildren(...rows);
  }

  reasons(step) {
    const list = element("ul", undefined, { class: "why", "aria-label": "Why" });
    for (const [text, section, place, isBroken] of step.why.slice(0, WHY_MAX)) {
      const item = element("li", `${isBroken ? "✗ Breaks a rule: " : ""}${text} `);
      if (isBroken) item.classList.add("broken");
      if (section) item.append(element("span", section, { class: "section", title: "of the paper, or of the thesis" }));
      if (place) item.append(" ", this.code(place));
      list.append(item);
    }
    return list;
  }

  // A link to the function that decided; a browser finds its text in the file.
  code(place) {
    const [module, name] = place.split(".");
    return element("a", `${module}.py ${name}()`, { class: "place", href: `${SOURCES}${module}.py#:~:text=def%20${name}`, target: "_blank", title: `src/raft/${module}.py` });
  }
}
