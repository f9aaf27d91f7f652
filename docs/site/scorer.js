// What the site's search shows first: pages for users before those for developers, and a page
// before a method of the API reference. The numbers are Sphinx's, but for the two marked ones.
var Scorer = {
  score: ([page, , , , score, , kind]) =>
    /^(README|docs\/(use|operate|repair|tutorial))/.test(page) || kind === "index" ? score + 10 : score,  // ours
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 0, 1: 0, 2: -5 },  // ours: 15, 5 and -5
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
