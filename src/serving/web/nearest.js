// The training digits that are nearest in the last layer: the images whose features point the same way.

import { training } from "./mnist.js";
import { featuresOf } from "./network.js";
import { thumbnail } from "./pixel_canvas.js";

const SHOWN = 8;
const element = (id) => document.getElementById(id);
let index = null; // images, labels and features; only once they were asked for
let image = null; // 28 rows of 28 greys

/** Show the nearest training digits of an image, if they were asked for. */
export async function showNearest(drawn) {
  image = drawn;
  if (!index) return;
  const { values } = await featuresOf([image.flat()]);
  const own = (row) => index.values.subarray(row * values.length, (row + 1) * values.length);
  const alike = index.images.map((_, row) => cosine(values, own(row)));
  const order = [...alike.keys()].sort((one, other) => alike[other] - alike[one]).slice(0, SHOWN);
  element("neighbours").replaceChildren(...order.map((row) => figure(index.images[row], index.labels[row], alike[row])));
}

function figure(own, label, likeness) {
  const box = document.createElement("figure");
  const textContent = `a ${label}, ${likeness.toFixed(2)}`;
  const words = Object.assign(document.createElement("figcaption"), { className: "small", textContent });
  box.append(Object.assign(thumbnail(own), { role: "img", ariaLabel: `A training digit, ${label}` }), words);
  return box;
}

function cosine(one, other) {
  let [dot, square, its] = [0, 0, 0];
  for (let at = 0; at < one.length; at += 1) {
    dot += one[at] * other[at];
    square += one[at] ** 2;
    its += other[at] ** 2;
  }
  return dot / (Math.sqrt(square * its) || 1);
}

async function load() {
  element("find").disabled = true;
  element("nearest-words").textContent = "Comparing with 500 training digits…";
  const { images, labels } = await training();
  index = { images, labels, ...(await featuresOf(images)) };
  element("find").hidden = true;
  element("nearest-words").textContent = "Of 500 training digits, those whose last features are most alike (cosine):";
  if (image) await showNearest(image);
}

element("find").addEventListener("click", () =>
  load().catch(({ message }) => {
    element("find").disabled = false;
    element("nearest-words").textContent = message;
  }),
);
