// What the network does with one image: its feature maps, and which pixels speak for an answer and against it; see
// src/serving/explain.py.

import * as ort from "../ort/ort.wasm.min.mjs";
import { constants, model } from "./constants.js";
import { clip, sum } from "./numbers.js";
import { map, pixels } from "./pixels.js";
import { SIDE } from "./preprocess.js";

const { PATCH, STRIDE, LEAST, BATCH } = constants.explain;

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
    const outputs = await this.run(data, model.layers);
    return model.layers.map((name) => {
      const [, channels, height, width] = outputs[name].dims;
      const most = outputs[name].data.reduce((one, other) => Math.max(one, other), LEAST);
      const values = Uint8Array.from(outputs[name].data, (value) => Math.round((255 * Math.max(value, 0)) / most));
      return { channels, height, width, values };
    });
  }

  /** Run images, bytes one after the other, and return some values. */
  async run(data, names) {
    this.session ??= this.extended(model.outputs);
    const pixels = new ort.Tensor("uint8", data, [data.length / SIDE ** 2, SIDE, SIDE]);
    return (await this.session).run({ pixels }, names);
  }

  extended(more) {
    return ort.InferenceSession.create(new Uint8Array([...new Uint8Array(this.bytes), ...more]));
  }

  /** The last features of images, bytes one after the other. @returns {Promise<import("../network.js").Features>} */
  async features(images) {
    const [name] = model.last_layer;
    const parts = [];
    for (let start = 0; start < images.length; start += BATCH * SIDE ** 2) {
      parts.push((await this.run(images.slice(start, start + BATCH * SIDE ** 2), [name]))[name]);
    }
    const values = new Float32Array(sum(parts.map(({ data }) => data.length)));
    parts.reduce((at, { data }) => (values.set(data, at), at + data.length), 0);
    return { count: images.length / SIDE ** 2, size: parts[0].dims[1], values };
  }

  /** @returns {Promise<import("../last_layer.js").LastLayer>} */
  async lastLayer() {
    const [, weights, biases] = model.last_layer;
    const found = await this.run(new Uint8Array(SIDE ** 2), [weights, biases]);
    return { size: found[weights].dims[1], weights: found[weights].data, biases: found[biases].data };
  }

  /** What makes a feature map of the layer before. */
  async filter({ layer, channel }) {
    const name = model.filters[layer];
    const { dims, data } = (await this.run(new Uint8Array(SIDE ** 2), [name]))[name];
    const [, inputs, height, width] = dims;
    const size = inputs * height * width;
    return { inputs, height, width, values: [...data.subarray(channel * size, (channel + 1) * size)] };
  }

  /** By how much each grey raises a class against another, or a feature map; see src/serving/explain.py. */
  async gradient({ image, toward, against, layer, channel }) {
    this.backward ??= this.extended(model.backward);
    const pixels = new ort.Tensor("uint8", Uint8Array.from(image.flat()), [1, SIDE, SIDE]);
    const inputs = Object.entries(model.inputs).map(([name, dims]) => [
      name,
      new ort.Tensor("float32", new Float32Array(dims.reduce((one, other) => one * other)), dims),
    ]);
    if (toward !== undefined) inputs[0][1].data[toward] = 1;
    if (against !== undefined) inputs[0][1].data[against] = -1;
    if (layer !== undefined) inputs[layer + 1][1].data[channel] = 1;
    const outputs = await (await this.backward).run({ pixels, ...Object.fromEntries(inputs) }, [model.gradient]);
    const { data } = outputs[model.gradient];
    return Array.from({ length: SIDE }, (_, row) => [...data.subarray(row * SIDE, (row + 1) * SIDE)]);
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
