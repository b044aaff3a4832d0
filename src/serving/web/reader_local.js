// Reads drawings and photos in the browser alone; `mnist-cnn export --web` puts it in the place of reader.js.

export const docs = false;
let waiting = new Map(); // what to do with the answer to each message, by number
let sent = 0;
let loading = null;
let show = () => null; // shows how much has been loaded
const loaded = () => (loading ??= load());
loaded().then(keepForOffline, () => null); // whoever asks is told

// The next visit needs no network, where the browser allows it: on https and on this machine.
function keepForOffline() {
  if (location.protocol !== "file:") navigator.serviceWorker?.register("offline.js").catch(() => null);
}

function load() {
  const worker = new Worker(new URL("local/worker.js", import.meta.url), { type: "module" });
  return new Promise((done, failed) => {
    const fail = () => {
      worker.terminate();
      loading = null;
      const what = "the model of this page cannot be loaded; see whether the web server still runs, or reload the page";
      const problem = new Error(what, { cause: "temporary" });
      failed(problem);
      for (const one of waiting.values()) one.failed(problem);
      waiting = new Map();
    };
    worker.onerror = fail;
    worker.onmessage = ({ data }) => {
      if (data.loaded !== undefined) show(`Loading the networks: ${Math.round(100 * data.loaded)} %`);
      else if (data.failed) fail();
      else if (data.model) done({ worker, model: data.model });
      else hear(data);
    };
  });
}

function hear({ number, words, answer, problem }) {
  const { done, failed, progress } = waiting.get(number);
  if (words) return progress(words);
  waiting.delete(number);
  return answer ? done(answer) : failed(new Error(problem));
}

export async function modelInfo(progress) {
  show = progress;
  return (await loaded()).model;
}

export const read = ({ photo, strokes }, several, progress) => send({ photo, strokes, several }, progress);

/** Explain why an image, 28 rows of 28 greys, is a digit; see local/explain.js. */
export const explain = (image, digit) => call("explain", image, digit);

/** The last features of images, bytes one after the other. */
export const features = (images) => call("features", images);

/** The parameters of the last layer. */
export const lastLayer = () => call("lastLayer");

/** The filter of a feature map. */
export const filter = (layer, channel) => call("filter", { layer, channel });

/** By how much each grey of an image raises one class against another, or a feature map. */
export const gradient = (image, what) => call("gradient", { image, ...what });

const call = (task, ...given) => send({ task, given }, () => null);

async function send(message, progress) {
  const { worker } = await loaded();
  const number = (sent += 1);
  return new Promise((done, failed) => {
    waiting.set(number, { done, failed, progress });
    worker.postMessage({ number, ...message });
  });
}
