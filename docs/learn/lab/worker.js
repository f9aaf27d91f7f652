// Loads CPython and the sources, and passes the page's requests on to extensions/picture/harness/lab/page.py.
// The page sends { open: { sources, python, cdn } } once, then texts; each gets a text as its answer.
const HOME = "/lab";
const OWN_CORE = "raftline_course.grading.own_core"; // runs a reader's own core
const MISSING = "CPython for WebAssembly is not beside the page, and HOST does not answer. With a network, reload the page; without one, `make -C docs lab` fetches CPython into a clone beforehand";
let answer = null, runtime = null;
let loaded = 0;

// Counts the bytes that arrive, for the bar of the page.
const plainFetch = self.fetch.bind(self);
self.fetch = async (...request) => {
  const response = await plainFetch(...request);
  if (!response.ok || !response.body) return response;
  const counted = response.body.pipeThrough(new TransformStream({
    transform(part, controller) {
      loaded += part.byteLength;
      postMessage({ loaded });
      controller.enqueue(part);
    },
  }));
  return new Response(counted, { status: response.status, headers: response.headers });
};

async function isThere(address) {
  try { return (await plainFetch(address, { method: "HEAD" })).ok; } catch { return false; }
}

async function open({ sources, python, cdn }) {
  const base = await isThere(`${python}pyodide.mjs`) ? python : cdn;
  const { loadPyodide } = await import(`${base}pyodide.mjs`).catch(() => { throw new Error(MISSING.replace("HOST", new URL(base).host)); });
  const [loadedRuntime, packed] = await Promise.all([loadPyodide({ indexURL: base, env: { HOME } }), fetch(sources)]);
  if (!packed.ok) throw new Error(`the sources are not at ${sources}`);
  runtime = loadedRuntime;
  runtime.unpackArchive(await packed.arrayBuffer(), "zip", { extractDir: HOME });
  // Another boot, with a bug or another core, finds what this one compiles.
  answer = runtime.runPython(`import sys; sys.dont_write_bytecode = False; sys.path.insert(0, "${HOME}"); import boot; boot.Booted(own_core="${OWN_CORE}").answer`);
}

// For the test of random clicks: the size of WebAssembly's memory, and the objects of Python in it.
const memory = () => JSON.stringify({ bytes: runtime._module.HEAPU8.length, objects: runtime.runPython("import gc; gc.collect(); len(gc.get_objects())") });

self.onmessage = async ({ data }) => {
  try {
    if (data.open) { await open(data.open); postMessage({ ready: true }); }
    else postMessage({ answer: data.memory ? memory() : answer(data) });
  } catch (error) { postMessage({ failed: String(error.message || error) }); }
};
