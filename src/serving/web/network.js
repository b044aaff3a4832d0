// The network alone, on 28x28 images: its last features and what they amount to, with shipped weights or with others.

import { features, lastLayer } from "./reader.js";
import { best, logits, softmax } from "./last_layer.js";

/**
 * @typedef {object} Features
 * @property {number} count of the images
 * @property {number} size of each one's features
 * @property {Float32Array} values [count][size]
 */

let shipped = null;
let temperature = 1;

/** Be told which model answers, so that another one's weights are asked for. */
export function useModel(info) {
  shipped = null;
  temperature = info.temperature;
}

export const shippedLayer = () => (shipped ??= lastLayer());

/** The features of images, each 784 greys. @param {ArrayLike<number>[]} images @returns {Promise<Features>} */
export function featuresOf(images) {
  const all = new Uint8Array(784 * images.length);
  images.forEach((image, number) => all.set(image, 784 * number));
  return features(all);
}

/** The calibrated probabilities of each image's classes. @returns {number[][]} */
export function judge(layer, { count, size, values }) {
  return Array.from({ length: count }, (_, row) => softmax(logits(layer, values, row * size), temperature));
}

/** The probabilities of images, each 784 greys, with the shipped weights. */
export const classify = async (images) => judge(await shippedLayer(), await featuresOf(images));

/** How many images a layer reads right. @param {number[]} labels */
export const countRight = (layer, features, labels) =>
  judge(layer, features).filter((probabilities, row) => best(probabilities) === labels[row]).length;
