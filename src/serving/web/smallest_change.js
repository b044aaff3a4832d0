// The smallest change that makes an image another digit, by gradient steps in the pixels.

import { clip } from "./alter.js";
import { best } from "./last_layer.js";
import { classify } from "./network.js";
import { gradient } from "./reader.js";

const STEP = 40; // greys: length of a step, as the root of the sum of squares
const STEPS = 60;
const FRACTIONS = 16; // of the whole change, of which the smallest that suffices is kept

/**
 * Follow the gradient of the goal's logit, less that of the most probable class, until the goal is most probable.
 * @param {ArrayLike<number>} image 784 greys
 * @param {number} goal index of the class
 * @returns {Promise<Uint8Array?>} the image, changed; null if no change was found
 */
export async function smallestChange(image, goal) {
  let values = Float64Array.from(image);
  for (let step = 0; step < STEPS; step += 1) {
    const [probabilities] = await classify([values.map(clip)]);
    const now = best(probabilities);
    if (now === goal) return shortened(image, values, goal);
    const slope = (await gradient(rows(values), { toward: goal, against: now })).flat();
    const free = slope.map((part, at) => ((part > 0 ? values[at] < 255 : values[at] > 0) ? part : 0));
    const length = Math.hypot(...free) || 1;
    values = values.map((value, at) => Math.min(Math.max(value + (STEP * free[at]) / length, 0), 255));
  }
  return null;
}

/** The smallest part of a change that still reaches the goal. */
async function shortened(image, values, goal) {
  const part = (share) => Uint8Array.from(values, (value, at) => clip(image[at] + share * (value - image[at])));
  const parts = Array.from({ length: FRACTIONS }, (_, number) => part((number + 1) / FRACTIONS));
  const found = (await classify(parts)).findIndex((probabilities) => best(probabilities) === goal);
  return parts[found];
}

export const rows = (values) => Array.from({ length: 28 }, (_, y) => [...values.slice(28 * y, 28 * y + 28)].map(clip));
