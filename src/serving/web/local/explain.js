// What the network does with one image: its feature maps, and which pixels speak for an answer and against it; see
// src/serving/explain.py.

import * as ort from "../ort/ort.wasm.min.mjs";
import { constants, model } from "./constants.js";
import { clip } from "./numbers.js";
import { map, pixels } from "./pixels.js";
import { SIDE } from "./preprocess.js";

const { PATCH, STRIDE, LEAST } = constants.explain;

/** Runs the classifier with its activations as outputs. */
export class Explainer {
  /** @param {ArrayBuffer} bytes of the classifier's file @param {import("./classifier.js").Classifier} classifier */
  constructor(bytes, classifier) {
    this.bytes = bytes;
    this.classifier = classifier;
  }

  /**
   * Explain why an image is a digit.
   * @param {number[][]} image 28 rows of 28 greys
   * @param {number} digit index of the class
   * @returns {Promise<{layers: {channels: number, height: number, width: number, values: Uint8Array}[],
   *   occlusion: number[][]}>} activations, 255 for the largest of a layer; and how much the digit's log-odds
   *   fall without the pixels around each place, [14][14]
   */
  async explain(image, digit) {
    const whole = pixels(SIDE, SIDE, Uint8Array.from(image.flat()));
    return { layers: await this.activations(whole), occlusion: await this.occlusion(whole, digit) };
  }

  async activations({ data }) {
    this.session ??= ort.InferenceSession.create(new Uint8Array([...new Uint8Array(this.bytes), ...model.outputs]));
    const input = { pixels: new ort.Tensor("uint8", data, [1, SIDE, SIDE]) };
    const outputs = await (await this.session).run(input, model.layers);
    return model.layers.map((name) => {
      const [, channels, height, width] = outputs[name].dims;
      const most = outputs[name].data.reduce((one, other) => Math.max(one, other), LEAST);
      const values = Uint8Array.from(outputs[name].data, (value) => Math.round((255 * Math.max(value, 0)) / most));
      return { channels, height, width, values };
    });
  }

  async occlusion(image, digit) {
    const side = SIDE / STRIDE;
    const hidden = Array.from({ length: side * side }, (_, place) => without(image, place % side, Math.floor(place / side)));
    const changed = hidden.filter(({ data }) => data.some((grey, at) => grey !== image.data[at]));
    const outputs = await this.classifier.infer([image, ...changed]);
    const [whole, ...parts] = outputs.map(({ probabilities }) => logOdds(probabilities[digit]));
    const falls = hidden.map((one) => (changed.includes(one) ? whole - parts[changed.indexOf(one)] : 0));
    return Array.from({ length: side }, (_, row) => falls.slice(row * side, (row + 1) * side));
  }
}

function logOdds(probability) {
  const kept = clip(probability, LEAST, 1 - LEAST);
  return Math.log(kept / (1 - kept));
}

/** Hide the patch around a place of the grid. */
function without(image, column, row) {
  const margin = (PATCH - STRIDE) / 2;
  const inside = (at, place) => at >= place * STRIDE - margin && at < (place + 1) * STRIDE + margin;
  return map(image, (grey, at) => (inside(at % SIDE, column) && inside(Math.floor(at / SIDE), row) ? 0 : grey));
}
