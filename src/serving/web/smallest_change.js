// The smallest change that makes an image another digit, by gradient steps in the pixels.

import { clip } from "./alter.js";
import { best } from "./last_layer.js";
import { classify } from "./network.js";
import { gradient } from "./reader.js";

const STEP = 100; // greys: length of a step, as the root of the sum of squares
const STEPS = 60;
const LIKELY = 0.5; // probability of the goal
const MOMENTUM = 0.5; // share of the last direction in the next
const RIVAL = 0.2; // probability of another class above which its logit is to fall
const FRACTIONS = 16; // of the whole change, of which the smallest that suffices is kept

/**
 * Follow the gradient of the goal's logit, less that of the most probable other class, until the goal is likely.
 * @param {ArrayLike<number>} image 784 greys
 * @param {number} goal index of the class
 * @returns {Promise<Uint8Array?>} the image, changed; null if no change was found
 */
export async function smallestChange(image, goal) {
  let values = Float64Array.from(image);
  let way = new Float64Array(values.length);
  for (let step = 0; step < STEPS; step += 1) {
    const [probabilities] = await classify([values.map(clip)]);
    if (probabilities[goal] >= LIKELY) return shortened(image, values, goal);
    const now = best(probabilities.map((one, place) => (place === goal ? 0 : one)));
    const rival = probabilities[now] > RIVAL ? { against: now } : {};
    const slope = (await gradient(rows(values), { toward: goal, ...rival })).flat();
    const free = slope.map((part, at) => ((part > 0 ? values[at] < 255 : values[at] > 0) ? part : 0));
    const steep = Math.hypot(...free) || 1;
    way = way.map((part, at) => MOMENTUM * part + free[at] / steep);
    const length = Math.hypot(...way) || 1;
    values = values.map((value, at) => Math.min(Math.max(value + (STEP * way[at]) / length, 0), 255));
  }
  return null;
}

/** The smallest part of a change that still reaches the goal. */
async function shortened(image, values, goal) {
  const part = (share) => Uint8Array.from(values, (value, at) => clip(image[at] + share * (value - image[at])));
  const parts = Array.from({ length: FRACTIONS }, (_, number) => part((number + 1) / FRACTIONS));
  const found = (await classify(parts)).findIndex((probabilities) => probabilities[goal] >= LIKELY);
  return parts[found];
}

export const rows = (values) => Array.from({ length: 28 }, (_, y) => [...values.slice(28 * y, 28 * y + 28)].map(clip));
