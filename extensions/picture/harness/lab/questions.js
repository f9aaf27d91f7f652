const pages = [...document.querySelectorAll(".question")];
const at = () => Math.max(0, pages.findIndex((one) => one.id === location.hash.slice(1)));
function open(index) { pages.forEach((one, place) => one.classList.toggle("open", place === index)); window.scrollTo(0, 0); }
function go(by) { location.hash = pages[Math.min(pages.length - 1, Math.max(0, at() + by))].id; }
document.body.classList.add("paged");
window.addEventListener("hashchange", () => open(at()));
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const by = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1 }[event.key];
  if (by) { event.preventDefault(); go(by); }
  const isOnControl = event.target.matches("a, summary");
  if ((event.key === " " || event.key === "Enter") && !isOnControl) { event.preventDefault(); const answer = pages[at()].querySelector("details"); answer.open = !answer.open; }
});
open(at());
