// Material's search runs in a worker, which browsers refuse to pages that are opened as files. This one runs in a frame.

/** Loads a script into a frame's window. @returns {Promise<void>} */
const load = (inner, url) =>
  new Promise((resolve, reject) => {
    const script = inner.document.createElement("script");
    Object.assign(script, { src: url, onload: () => resolve(), onerror: reject });
    inner.document.body.append(script);
  });

/** A worker's interface to a script in a hidden frame of the same origin. */
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    this.inner = this.frame.contentWindow;
    this.inner.postMessage = (data) => {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    };
    this.inner.importScripts = (...urls) =>
      urls.reduce((done, one) => done.then(() => load(this.inner, one)), Promise.resolve());
    this.ready = load(this.inner, url);
  }

  postMessage(data) {
    this.ready.then(() => this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data: structuredClone(data) })));
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
