// Detections of digits: decoded from the spotter's heat maps, and merged by non-maximum suppression; see
// src/pictures/detections.py. A peak is a Float32Array: ten scores; left, top, right and bottom in pixels; and, once it
// is weighted, how well the network reads digits of its height.

import { constants } from "./constants.js";
import { argmax, clip, mean, sum } from "./numbers.js";

const {
  CLASSES,
  STRIDE,
  MIN_SCORE,
  MIN_PROBABILITY,
  MIN_CLEAREST,
  IDEAL_HEIGHT,
  WIDTH,
  SAME_DIGIT,
  INSIDE,
  MAX_RATIO,
  BANDWIDTH,
  CLEAR,
} = constants.detections;

/** A digit in a picture. */
export class Detection {
  /**
   * @param {Float32Array} scores of each class, independent sigmoids, [10]
   * @param {number[]} box left, top, right and bottom, in pixels
   */
  constructor(scores, box) {
    this.scores = scores;
    this.box = box;
    this.probability = Math.max(...scores);
    const [left, top, right, bottom] = box;
    this.centre = [(left + right) / 2, (top + bottom) / 2];
    this.height = bottom - top;
  }
}

const scoresOf = (peak) => peak.subarray(0, CLASSES);
const boxOf = (peak) => [...peak.subarray(10, 14)];
const heightOf = (peak) => peak[13] - peak[11];
const weightOf = (peak) => peak[14];

/** Log-odds, finite also for 0 and 1. */
function logit(probability) {
  const kept = clip(probability, 1e-6, 1 - 1e-6);
  return Math.log(kept / (1 - kept));
}

/**
 * Decode local maxima of the network's output (CenterNet: Zhou et al. 2019, section 4.1).
 * @param {Float32Array} output [14, height, width]
 * @returns {Float32Array[]} peaks without weights, [14] each
 */
export function peaks(output, height, width) {
  const size = height * width;
  const best = output.slice(0, size);
  for (let place = size; place < CLASSES * size; place += 1) {
    if (output[place] > best[place % size]) best[place % size] = output[place];
  }
  const found = [];
  for (let place = 0; place < size; place += 1) {
    if (best[place] > logit(MIN_SCORE) && isPeak(best, place, height, width))
      found.push(decode(output, place, size, width));
  }
  return found;
}

function isPeak(best, place, height, width) {
  const [x, y] = [place % width, Math.floor(place / width)];
  for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row += 1) {
    for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column += 1) {
      if (best[row * width + column] > best[place]) return false;
    }
  }
  return true;
}

function decode(output, place, size, width) {
  const value = (channel) => output[channel * size + place];
  const scores = Array.from({ length: CLASSES }, (_, digit) => 1 / (1 + Math.exp(-value(digit))));
  const [x, y] = [(place % width) + 0.5 + value(10), Math.floor(place / width) + 0.5 + value(11)];
  const [across, down] = [12, 13].map((channel) => Math.exp(clip(value(channel), -3, 6)) / 2);
  return Float32Array.from([...scores, ...[x - across, y - down, x + across, y + down].map((side) => STRIDE * side)]);
}

/** Append to peaks how well the network reads digits of their height, 0..1. */
export const withWeights = (found) =>
  found.map((peak) => {
    const distance = Math.log(Math.max(heightOf(peak), 1) / IDEAL_HEIGHT) / WIDTH;
    return Float32Array.from([...peak, Math.exp(-(distance ** 2) / 2)]);
  });

/** The mode of the heights of weighted peaks, in pixels, taller ones counting more; 0 without any. */
export function modeHeight(found) {
  if (!found.length) return 0;
  const logs = found.map((peak) => Math.log(Math.max(heightOf(peak), 1)));
  const weights = found.map((peak, k) => Math.max(...scoresOf(peak)) ** 2 * weightOf(peak) * Math.exp(logs[k]));
  const grid = Array.from({ length: Math.ceil((9 * 4) / BANDWIDTH) }, (_, step) => (step * BANDWIDTH) / 4);
  const density = grid.map((at) =>
    sum(logs.map((log, k) => Math.exp(-(((at - log) / BANDWIDTH) ** 2) / 2) * weights[k])),
  );
  return Math.exp(grid[argmax(density)]);
}

/** Whether two heights differ by less than the bandwidth. */
export const sameHeight = (height, other) =>
  Math.abs(Math.log(Math.max(height, 1e-3) / Math.max(other, 1e-3))) < BANDWIDTH;

/** Keep weighted peaks of about a height: digits of a picture are alike, their parts are not. */
export const ofHeight = (found, height) =>
  found.filter((peak) => Math.abs(Math.log(Math.max(heightOf(peak), 1e-3) / height)) < Math.log(MAX_RATIO));

/** Merge weighted peaks of the same digit: greedy non-maximum suppression across classes. @returns {Detection[]} */
export function suppress(found) {
  const best = (peak) => Math.fround(Math.max(...scoresOf(peak)) * weightOf(peak));
  const kept = [];
  for (let rest = [...found].sort((one, other) => best(other) - best(one)); rest.length;) {
    const overlaps = overlapping(boxOf(rest[0]), rest.map(boxOf));
    const scores = weightedMean(rest.filter((_, k) => overlaps[k].same));
    if (Math.max(...scores) >= MIN_PROBABILITY) kept.push(new Detection(scores, boxOf(rest[0])));
    rest = rest.filter((_, k) => !overlaps[k].near);
  }
  return kept;
}

function weightedMean(found) {
  const weights = found.map((peak) => weightOf(peak) * Math.max(...scoresOf(peak)));
  return Float32Array.from(
    { length: CLASSES },
    (_, digit) => sum(found.map((peak, k) => peak[digit] * weights[k])) / sum(weights),
  );
}

/** Which boxes show the same digit as `box`, the first of them, and which it excludes. */
export function overlapping(box, boxes) {
  const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);
  return boxes.map((other, k) => {
    const across = Math.min(box[2], other[2]) - Math.max(box[0], other[0]);
    const down = Math.min(box[3], other[3]) - Math.max(box[1], other[1]);
    const shared = Math.max(across, 0) * Math.max(down, 0);
    const same = k === 0 || shared > SAME_DIGIT * (area(box) + area(other) - shared);
    return { same, near: same || shared > INSIDE * Math.min(area(box), area(other)) };
  });
}

/** The mean probability of detections, 0 without any. */
export const meanProbability = (reading) => (reading.length ? mean(reading.map(({ probability }) => probability)) : 0);

/** Keep the reading with the largest total evidence, unless it is faint, and from others what is clear and apart. */
export function union(readings) {
  const evidence = (reading) => sum(reading.map(({ probability }) => probability - MIN_PROBABILITY));
  const [first = [], ...others] = [...readings].sort((one, other) => evidence(other) - evidence(one));
  if (Math.max(0, ...first.map(({ probability }) => probability)) < MIN_CLEAREST) return [];
  return others.reduce((kept, reading) => {
    const apart = reading.filter((one) => one.probability > CLEAR && !kept.some(({ box }) => intersect(one.box, box)));
    return [...kept, ...apart];
  }, first);
}

/** Whether two boxes share any area. */
const intersect = (box, other) =>
  Math.max(box[0], other[0]) < Math.min(box[2], other[2]) && Math.max(box[1], other[1]) < Math.min(box[3], other[3]);
