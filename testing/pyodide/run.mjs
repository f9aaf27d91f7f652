// Runs pytest on CPython in WebAssembly: node testing/pyodide/run.mjs FOLDER [ARGUMENT …]
//
// FOLDER holds node_modules with pyodide, and the wheels of requirements.txt; `make -C testing pyodide-test`
// fills it. Other arguments go to pytest. The checkout is copied into the memory of that Python,
// so the tests change no file of the machine. The exit status is pytest's.

import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker, isMainThread, workerData } from 'node:worker_threads';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const COPIED = ['src', 'library', 'extensions', 'course', 'labs', 'tests', 'testing', 'docs', 'README.md', 'conftest.py', 'pyproject.toml', 'setup.cfg'];
const LEFT = new Set(['__pycache__', 'node_modules']);
const HOME = '/raftline';
const PACKAGES = '/lib/python3.14/site-packages';
const STACK_MB = 256; // a nested call of Python takes more of it than by default is there

const RUN = `
import sys
import pytest

print("CPython", sys.version.split()[0], "on", sys.platform, flush=True)
sys.path.insert(0, "testing/pyodide")
int(pytest.main(["-p", "no:cacheprovider", "-p", "webassembly", *arguments.to_py()]))
`;

function copy(python, name) {
  const from = path.join(ROOT, name);
  if (!fs.existsSync(from)) return;
  if (!fs.statSync(from).isDirectory()) {
    python.FS.writeFile(`${HOME}/${name}`, fs.readFileSync(from));
    return;
  }
  python.FS.mkdirTree(`${HOME}/${name}`);
  for (const entry of fs.readdirSync(from)) if (!LEFT.has(entry)) copy(python, `${name}/${entry}`);
}

async function run(folder, args) {
  const { loadPyodide } = await import(
    pathToFileURL(path.join(folder, 'node_modules/pyodide/pyodide.mjs'))
  );
  const python = await loadPyodide({ env: { HOME } });
  python.setStdin({ error: true });
  python.setStdout({ raw: (byte) => fs.writeSync(1, Uint8Array.of(byte)) }); // each dot at once
  python.setStderr({ raw: (byte) => fs.writeSync(2, Uint8Array.of(byte)) });
  const wheels = path.join(folder, 'wheels');
  for (const name of fs.readdirSync(wheels)) {
    const bytes = new Uint8Array(fs.readFileSync(path.join(wheels, name)));
    python.unpackArchive(bytes, 'wheel', { extractDir: PACKAGES });
  }
  python.FS.mkdirTree(HOME);
  for (const name of COPIED) copy(python, name);
  python.FS.chdir(HOME);
  python.globals.set('arguments', args);
  process.exit(python.runPython(RUN));
}

if (isMainThread) {
  const [folder, ...args] = process.argv.slice(2);
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { folder: path.resolve(folder), args },
    resourceLimits: { stackSizeMb: STACK_MB },
  });
  // The message alone: the source line that node would show is a megabyte long.
  worker.on('error', (error) => {
    console.error(String(error.message));
    process.exitCode = 1;
  });
  worker.on('exit', (status) => {
    process.exitCode ||= status;
  });
} else {
  await run(workerData.folder, workerData.args);
}
