// Resizing as cv2.resize does it: each side has weights of source pixels for each pixel of the result.

import { clip, round } from "./numbers.js";
import { pixels } from "./pixels.js";

/**
 * @param {import("./pixels.js").Pixels} image greys 0..255
 * @param {(from: number, to: number) => Weights[]} method `AREA`, `CUBIC` or `LINEAR`
 * @returns {import("./pixels.js").Pixels} uint8 [height, width]
 */
export function resize(image, width, height, method) {
  const enlarged = method === AREA && (width > image.width || height > image.height);
  const weights = enlarged ? LINEAR_AREA : method;
  const wide = resizeRows(image, weights(image.width, width));
  const halves = method === AREA && image.width === 2 * width && image.height === 2 * height;
  return resizeColumns(wide, weights(image.height, height), halves ? Math.round : round);
}

/** @typedef {{index: number, weight: number}[]} Weights of the source pixels that make up one pixel of the result */

/** Each pixel is the mean of what it covers. */
export function AREA(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, place) => {
    const [start, end] = [place * scale, Math.min((place + 1) * scale, from)];
    const covered = [];
    for (let index = Math.floor(start + 1e-3); index < end - 1e-3; index += 1) {
      const share = Math.min(index + 1, end) - Math.max(index, start);
      covered.push({ index, weight: share / (end - start) });
    }
    return covered;
  });
}

/** What cv2 does with INTER_AREA where a side grows. */
function LINEAR_AREA(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, place) => {
    const index = Math.floor(place * scale);
    const beyond = place + 1 - (index + 1) / scale;
    const weight = beyond <= 0 ? 0 : beyond - Math.floor(beyond);
    return within(from, index, [1 - weight, weight]);
  });
}

export const LINEAR = (from, to) => interpolation(from, to, 0, (x) => [1 - x, x]);

export const CUBIC = (from, to) => interpolation(from, to, 1, cubic);

function cubic(x) {
  const near = (t) => (1.25 * t - 2.25) * t * t + 1;
  const far = (t) => ((-0.75 * t + 3.75) * t - 6) * t + 3;
  return [far(1 + x), near(x), near(1 - x), far(2 - x)];
}

function interpolation(from, to, before, weights) {
  return Array.from({ length: to }, (_, place) => {
    const at = ((place + 0.5) * from) / to - 0.5;
    return within(from, Math.floor(at) - before, weights(at - Math.floor(at)));
  });
}

const within = (from, first, weights) =>
  weights.map((weight, number) => ({ index: clip(first + number, 0, from - 1), weight }));

function resizeRows({ width, height, data }, weights) {
  const to = weights.length;
  const wide = new Float32Array(to * height);
  const parts = weights.flatMap((covered, x) => covered.map(({ index, weight }) => [x, index, weight]));
  const [places, indices] = [0, 1].map((column) => Int32Array.from(parts, (part) => part[column]));
  const shares = Float64Array.from(parts, ([, , weight]) => weight);
  for (let y = 0; y < height; y += 1) {
    for (let k = 0; k < shares.length; k += 1) wide[y * to + places[k]] += shares[k] * data[y * width + indices[k]];
  }
  return { width: to, height, data: wide };
}

function resizeColumns({ width, data }, weights, rounded) {
  const result = pixels(width, weights.length);
  const row = new Float32Array(width);
  weights.forEach((covered, y) => {
    row.fill(0);
    for (const { index, weight } of covered) {
      for (let x = 0; x < width; x += 1) row[x] += weight * data[index * width + x];
    }
    for (let x = 0; x < width; x += 1) result.data[y * width + x] = clip(rounded(row[x]), 0, 255);
  });
  return result;
}
