// Reads drawings in the browser alone; `mnist-cnn export --web` puts it in the place of reader.js.

import * as ort from "./ort/ort.wasm.min.mjs";

export const docs = false;
const SIDE = 28;
const DIGIT = 20; // longer side of the ink, as in preprocess.py
const STROKE = [2, 4]; // least and most width of strokes in pixels of 28x28, as in preprocess.py
const FINE = 8; // strokes are drawn so many times finer, then averaged
const TURN = (8 * Math.PI) / 180; // each way, as in classifier.py

const here = (name) => new URL(name, import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
ort.env.wasm.wasmPaths = here("ort/");
let loading = null;
const loaded = () => (loading ??= load());
loaded().catch(() => null); // whoever asks is told

async function load() {
  try {
    const info = await (await fetch(here("model.json"))).json();
    return { info, session: await ort.InferenceSession.create(here("mnist_cnn.onnx")) };
  } catch {
    loading = null;
    const what = "the model of this page cannot be loaded; see whether the web server still runs, or reload the page";
    throw new Error(what, { cause: "temporary" });
  }
}

export const modelInfo = async () => (await loaded()).info;

export async function read({ photo, strokes, brush }, several) {
  if (photo) throw new Error("this page reads drawings only; `mnist-cnn serve` reads photos too");
  const digits = several ? part(strokes, brush) : [strokes];
  const found = await Promise.all(digits.map((own) => readOne(own, brush)));
  return { text: found.map(({ label }) => label).join(""), digits: found };
}

async function readOne(strokes, brush) {
  const image = toMnist(strokes, brush);
  const augmented = [image, turned(image, -TURN), turned(image, TURN)]; // test-time augmentation
  const pixels = new ort.Tensor("uint8", Uint8Array.from(augmented.flat(2)), [augmented.length, SIDE, SIDE]);
  const { info, session } = await loaded();
  const { probabilities, ood_score } = await session.run({ pixels });
  const { classes, probability_threshold, ood_threshold } = info;
  const mean = classes.map((_, digit) => average(augmented.map((_, row) => probabilities.data[row * classes.length + digit])));
  const probability = Math.max(...mean);
  const digit = mean.indexOf(probability);
  return {
    digit,
    label: classes[digit],
    probability,
    probabilities: mean,
    confident: probability >= probability_threshold && average([...ood_score.data]) <= ood_threshold,
    box: box(strokes, brush),
    image,
  };
}

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function box(strokes, brush) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return [left - brush / 2, top - brush / 2, Math.max(...xs) - left + brush, Math.max(...ys) - top + brush];
}

// Strokes whose widths overlap belong to one digit; digits go from left to right.
function part(strokes, brush) {
  const digits = [];
  for (const stroke of [...strokes].sort((a, b) => box([a], brush)[0] - box([b], brush)[0])) {
    const last = digits.at(-1);
    const [left, , width] = last ? box(last, brush) : [0, 0, -1];
    if (last && box([stroke], brush)[0] < left + width) last.push(stroke);
    else digits.push([stroke]);
  }
  return digits;
}

// Draw strokes as MNIST would have had them: 28 rows of 28 greys, ink 255.
function toMnist(strokes, brush) {
  const [left, top, width, height] = box(strokes, brush);
  const longest = Math.max(width, height);
  const pen = Math.min(Math.max((brush * DIGIT) / longest, STROKE[0]), STROKE[1]);
  const scale = (DIGIT - pen) / Math.max(longest - brush, 1);
  const canvas = new OffscreenCanvas(DIGIT * FINE, DIGIT * FINE);
  const paper = canvas.getContext("2d");
  paper.scale(FINE, FINE);
  paper.translate(pen / 2, pen / 2);
  paper.scale(scale, scale);
  paper.translate(-left - brush / 2, -top - brush / 2);
  paper.lineCap = paper.lineJoin = "round";
  paper.lineWidth = pen / scale;
  for (const [first, ...others] of strokes) {
    paper.beginPath();
    paper.moveTo(...first);
    for (const point of others.length ? others : [[first[0] + 0.1, first[1]]]) paper.lineTo(...point);
    paper.stroke();
  }
  return centred(averaged(paper.getImageData(0, 0, canvas.width, canvas.height).data));
}

function averaged(rgba) {
  const digit = Array.from({ length: DIGIT }, () => new Array(DIGIT).fill(0));
  for (let y = 0; y < DIGIT * FINE; y += 1) {
    for (let x = 0; x < DIGIT * FINE; x += 1) {
      digit[Math.floor(y / FINE)][Math.floor(x / FINE)] += rgba[4 * (y * DIGIT * FINE + x) + 3] / FINE ** 2;
    }
  }
  const most = Math.max(1, ...digit.flat());
  return digit.map((row) => row.map((ink) => (255 * ink) / most));
}

function centred(digit) {
  const weight = Math.max(1, digit.flat().reduce((sum, ink) => sum + ink, 0));
  const middle = (index) => digit.flatMap((row, y) => row.map((ink, x) => ink * index(x, y))).reduce((sum, ink) => sum + ink, 0) / weight;
  const shift = (place) => Math.min(Math.max(Math.round(SIDE / 2 - 0.5 - place), 0), SIDE - DIGIT);
  const [left, top] = [shift(middle((x) => x)), shift(middle((_, y) => y))];
  return Array.from({ length: SIDE }, (_, y) =>
    Array.from({ length: SIDE }, (_, x) => Math.round(digit[y - top]?.[x - left] ?? 0)),
  );
}

function turned(image, angle) {
  const [cos, sin, middle] = [Math.cos(angle), Math.sin(angle), (SIDE - 1) / 2];
  const at = (y, x) => image[Math.min(Math.max(y, 0), SIDE - 1)][Math.min(Math.max(x, 0), SIDE - 1)];
  return image.map((row, y) =>
    row.map((_, x) => {
      const [sx, sy] = [middle + cos * (x - middle) - sin * (y - middle), middle + sin * (x - middle) + cos * (y - middle)];
      const [left, top] = [Math.floor(sx), Math.floor(sy)];
      const [right, low] = [sx - left, sy - top];
      const upper = at(top, left) * (1 - right) + at(top, left + 1) * right;
      const lower = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right;
      return Math.round(upper * (1 - low) + lower * low);
    }),
  );
}
