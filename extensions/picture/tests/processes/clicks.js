// Clicks on the lab page for some milliseconds. The same seed chooses the same buttons.
const [seed, milliseconds, done] = arguments, end = performance.now() + milliseconds;
const CHOICE_EVERY = 150, PAUSE_MS = 5;  // a choice opens another run, else acts of one run pile up
const WAITS_MAX = 20;  // presses that wait for their turn: a slow computer gets fewer
const UNWANTED = "#share, #core, [data-order='Edit log'], dialog button";
if (!window.clicks) {
  window.clicks = { state: seed, count: 0, errors: [] };
  addEventListener("error", (event) => window.clicks.errors.push(event.message));
  addEventListener("unhandledrejection", (event) => window.clicks.errors.push(String(event.reason)));
}

function next(most) {
  window.clicks.state = (window.clicks.state * 48271) % 2147483647;
  return window.clicks.state % most;
}

function choose() {
  const list = document.getElementById(["stories", "bugs", "size", "speed"][next(4)]);
  list.selectedIndex = next(list.options.length);
  list.dispatchEvent(new Event("change"));
  document.getElementById("seed").value = next(1000);
}

function click() {
  if (window.lab.now().waits < WAITS_MAX) press();
  if (performance.now() < end) setTimeout(click, PAUSE_MS);
  else done({ count: window.clicks.count, errors: window.clicks.errors, said: document.getElementById("link").textContent });
}

function press() {
  window.clicks.count += 1;
  const all = [...document.querySelectorAll("button, #stage [role=button]")].filter((one) => !one.disabled && !one.matches(UNWANTED));
  if (window.clicks.count % CHOICE_EVERY === 0) choose();
  else all[next(all.length)].dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
}

click();
