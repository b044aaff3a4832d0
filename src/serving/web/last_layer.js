// The linear last layer: what it makes of features, and how it learns a hand.

/**
 * @typedef {object} LastLayer
 * @property {number} size of the features
 * @property {Float32Array} weights [classes][size]
 * @property {Float32Array} biases [classes]
 */

const PULL = 0.0003; // towards the shipped weights: half of it times the squared distance is added to the loss
const KEPT = 4; // weight of what must not be forgotten, beside 1 of what is taught
const STEPS = 150;
const ROUNDS = 20; // of power iteration
const SLICE = 10; // steps between which the page may do something else

/** The logits of an image's features, which begin at `start`. */
export function logits({ size, weights, biases }, values, start = 0) {
  return Array.from(biases, (bias, digit) => {
    let total = bias;
    for (let at = 0; at < size; at += 1) total += weights[digit * size + at] * values[start + at];
    return total;
  });
}

/** Probabilities of logits. */
export function softmax(values, temperature = 1) {
  const most = Math.max(...values);
  const shares = values.map((value) => Math.exp((value - most) / temperature));
  const total = shares.reduce((one, other) => one + other);
  return shares.map((share) => share / total);
}

export const best = (values) => values.indexOf(Math.max(...values));

/**
 * Logistic regression of a hand, by Nesterov's gradient method (1983), from the shipped weights on. What must not be
 * forgotten is held to the shipped layer's own probabilities, as in "Learning without forgetting" (Li and Hoiem 2016).
 * @param {LastLayer} layer the shipped one
 * @param {import("./network.js").Features} taught of the hand's digits
 * @param {number[]} labels of those
 * @param {import("./network.js").Features} kept of what must not be forgotten
 * @returns {Promise<LastLayer>}
 */
export async function learn(layer, taught, labels, kept) {
  const classes = layer.biases.length;
  const examples = [
    ...labels.map((label, row) => example(layer, taught, row, label, 1 / labels.length)),
    ...Array.from({ length: kept.count }, (_, row) => example(layer, kept, row, null, KEPT / kept.count)),
  ];
  const count = (layer.size + 1) * classes; // changes of the weights, then of the biases: [size + 1][classes]
  const step = 1 / (PULL + largestCurvature(examples, layer.size + 1));
  let [changes, ahead, pace] = [new Float64Array(count), new Float64Array(count), 1];
  for (let done = 0; done < STEPS; done += 1) {
    if (done % SLICE === 0) await new Promise((next) => setTimeout(next));
    const slope = gradient(examples, ahead, classes);
    const [next, faster] = [ahead.map((value, at) => value - step * slope[at]), (1 + Math.sqrt(1 + 4 * pace * pace)) / 2];
    ahead = next.map((value, at) => value + ((pace - 1) / faster) * (value - changes[at]));
    [changes, pace] = [next, faster];
  }
  return {
    size: layer.size,
    weights: layer.weights.map((value, at) => value + changes[(at % layer.size) * classes + Math.floor(at / layer.size)]),
    biases: layer.biases.map((value, digit) => value + changes[layer.size * classes + digit]),
  };
}

/** An image's features that are not 0, and a 1 for the biases; its shipped logits; its goal; its weight in the loss. */
function example(layer, { size, values }, row, label, weight) {
  const places = [];
  for (let at = 0; at < size; at += 1) if (values[row * size + at] !== 0) places.push(at);
  const given = Float64Array.from([...places.map((at) => values[row * size + at]), 1]);
  const shipped = logits(layer, values, row * size);
  const goal = label === null ? softmax(shipped) : shipped.map((_, digit) => Number(digit === label));
  return { places: Uint16Array.from([...places, size]), given, shipped, goal, weight };
}

/** The gradient of the loss by the changes. */
function gradient(examples, changes, classes) {
  const slope = changes.map((value) => PULL * value);
  for (const { places, given, shipped, goal, weight } of examples) {
    const total = [...shipped];
    for (let k = 0; k < places.length; k += 1) {
      const first = places[k] * classes;
      for (let digit = 0; digit < classes; digit += 1) total[digit] += given[k] * changes[first + digit];
    }
    const misses = softmax(total).map((share, digit) => weight * (share - goal[digit]));
    for (let k = 0; k < places.length; k += 1) {
      const first = places[k] * classes;
      for (let digit = 0; digit < classes; digit += 1) slope[first + digit] += given[k] * misses[digit];
    }
  }
  return slope;
}

/** A bound on the second derivatives of the loss, by power iteration. */
function largestCurvature(examples, size) {
  let [vector, length] = [new Float64Array(size).fill(1 / Math.sqrt(size)), 0];
  for (let round = 0; round < ROUNDS; round += 1) {
    const next = new Float64Array(size);
    for (const { places, given, weight } of examples) {
      let dot = 0;
      for (let k = 0; k < places.length; k += 1) dot += given[k] * vector[places[k]];
      for (let k = 0; k < places.length; k += 1) next[places[k]] += weight * given[k] * dot;
    }
    length = Math.hypot(...next);
    vector = next.map((value) => value / length);
  }
  return 0.55 * length; // a softmax has at most half of that
}
