// MNIST digits that ship with the page: the test images that the packaged reader is least sure of, worst first, and
// training images; see scripts/page_digits.py.

const SIDE = 28;
const loaded = new Map();

/** @typedef {{images: Uint8Array[], labels: number[]}} Digits 784 greys each */

/** Load the worst test images. @returns {Promise<Digits>} */
export const worstTest = () => part("test", "mnist_test_worst.png", 0);

/** Load those and the next ones. @returns {Promise<Digits>} */
export async function hardTest() {
  const worst = await worstTest();
  const next = await part("test", "mnist_test_next.png", worst.labels.length);
  return { images: [...worst.images, ...next.images], labels: [...worst.labels, ...next.labels] };
}

/** Load training images. @returns {Promise<Digits>} */
export const training = () => part("train", "mnist_train.png", 0);

function part(split, sprite, first) {
  if (!loaded.has(sprite)) loaded.set(sprite, load(split, sprite, first));
  loaded.get(sprite).catch(() => loaded.delete(sprite)); // it is loaded again when it is needed again
  return loaded.get(sprite);
}

async function load(split, sprite, first) {
  const [labels, images] = await Promise.all([fetched("mnist.json").then((answer) => answer.json()), cut(sprite)]);
  return { images, labels: [...labels[split].slice(first, first + images.length)].map(Number) };
}

async function fetched(file) {
  const answer = await fetch(new URL(file, import.meta.url));
  if (!answer.ok) throw new Error(`${file} cannot be loaded`);
  return answer;
}

async function cut(sprite) {
  const blob = await (await fetched(sprite)).blob();
  const whole = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const pen = new OffscreenCanvas(whole.width, whole.height).getContext("2d", { willReadFrequently: true });
  pen.drawImage(whole, 0, 0);
  const columns = whole.width / SIDE;
  return Array.from({ length: columns * (whole.height / SIDE) }, (_, number) => {
    const { data } = pen.getImageData((number % columns) * SIDE, Math.floor(number / columns) * SIDE, SIDE, SIDE);
    return Uint8Array.from({ length: SIDE * SIDE }, (_, at) => data[4 * at]);
  });
}
