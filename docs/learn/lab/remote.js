// The worker with CPython: a request is a text, and its answer is the next one that comes back.
export class Remote {
  constructor(script) { this.waiting = []; this.worker = new Worker(script, { type: "module" }); }

  // Loads CPython and the sources.
  open(settings, progress) {
    return new Promise((resolve, reject) => {
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker does not start"));
      this.worker.onmessage = ({ data }) => {
        if (data.loaded) progress(data.loaded);
        else if (data.failed) reject(new Error(data.failed));
        else { this.listen(); resolve(); }
      };
      this.worker.postMessage({ open: settings });
    });
  }

  listen() {
    const settle = (value) => this.waiting.shift()(value);
    this.worker.onmessage = ({ data }) => { if ("answer" in data) settle(JSON.parse(data.answer)); else if (data.failed) settle({ crash: data.failed }); };
    this.worker.onerror = (event) => settle({ crash: event.message });
  }

  ask(request) { return this.post(JSON.stringify(request)); }
  memory() { return this.post({ memory: true }); }
  post(data) { return new Promise((resolve) => { this.waiting.push(resolve); this.worker.postMessage(data); }); }
}
