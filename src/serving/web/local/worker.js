// Reads pictures, and explains answers, beside the page, which stays responsive. Messages are answered in turn; a picture
// is given up when a newer one has come.

const ready = import("./classifier.js").then(async ({ Classifier }) => {
  const { model } = await import("./constants.js");
  const { readPicture } = await import("./image_io.js");
  const { pictureOf } = await import("../strokes.js");
  const classifier = await Classifier.load((loaded) => postMessage({ loaded }));
  postMessage({ model });
  return { classifier, readPicture, pictureOf };
});
ready.catch(() => postMessage({ failed: true }));

let newest = 0; // number of the newest picture
let queue = Promise.resolve();

onmessage = ({ data }) => {
  if (!data.task) newest = data.number;
  const answer = data.task ? explain : read;
  queue = queue.then(() => answer(data)).catch(({ message }) => postMessage({ number: data.number, problem: message }));
};

async function explain({ number, task, given }) {
  const { classifier } = await ready;
  postMessage({ number, answer: await classifier.explainer[task](...given) });
}

async function read({ number, photo, strokes, several }) {
  const { classifier, readPicture, pictureOf } = await ready;
  const step = async (words) => {
    postMessage({ number, words });
    await new Promise((done) => setTimeout(done)); // a newer message may come in
    if (number < newest) throw new Error("a newer picture is read instead");
  };
  await step("Reading the picture");
  const picture = photo ? await readPicture(photo) : { ...pictureOf(strokes, several), strokes };
  const looking = (done) => step(`Looking for digits: ${Math.round(100 * done)} %`);
  postMessage({ number, answer: await classifier.read(picture, several, looking) });
}
