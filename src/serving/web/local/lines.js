// Detections become lines of text in reading order, also where lines slope; see src/pictures/lines.py.

import { constants } from "./constants.js";
import { argmax, clip, mean, median } from "./numbers.js";

const { MAX_SLOPE, MAX_OFFSET, REACH, MEMORY, LEVEL, ABOVE, BESIDE } = constants.lines;

const fromLeft = (one, other) => one.centre[0] - other.centre[0];

/**
 * Sort detections into lines, from top to bottom, and each line from left to right.
 * @param {import("./detections.js").Detection[]} found
 * @returns {import("./detections.js").Detection[][]}
 */
export function textLines(found) {
  const rows = [];
  const ends = [];
  const slope = commonSlope(found);
  for (const one of [...found].sort(fromLeft)) {
    const number = nearest(ends, one, slope);
    if (number === undefined) {
      rows.push([one]);
      ends.push(levelAndHeight([one], slope));
    } else {
      rows[number].push(one);
      ends[number] = levelAndHeight(rows[number].slice(-MEMORY), slope);
    }
  }
  const rowLevel = (row) => mean(row.map((one) => level(one, slope)));
  return mergeLevelRows(rows, slope).sort((row, other) => rowLevel(row) - rowLevel(other));
}

/** The slope of lines, dy/dx: the median over each digit and its nearest neighbour to the right. */
function commonSlope(found) {
  const slopes = found.flatMap(({ centre: [x, y], height }) => {
    const steps = found.map(({ centre }) => [centre[0] - x, centre[1] - y]);
    const beside = steps.filter(
      ([right, rise]) =>
        right > BESIDE * height && right < REACH * height && Math.abs(rise) < MAX_SLOPE * right + BESIDE * height,
    );
    if (!beside.length) return [];
    const [right, rise] = beside.reduce((nearest, step) => (step[0] < nearest[0] ? step : nearest));
    return [clip(rise / right, -MAX_SLOPE, MAX_SLOPE)];
  });
  return slopes.length > 1 ? median(slopes) : 0;
}

/** Where a line through a digit's centre meets the picture's left side. */
const level = ({ centre: [x, y] }, slope) => y - slope * x;

/** The median level and the median height of digits of a line. */
function levelAndHeight(some, slope) {
  return { height: median(some.map(({ height }) => height)), level: median(some.map((one) => level(one, slope))) };
}

/** Which of the lines a digit is on; undefined if it is above or below all. */
function nearest(ends, one, slope) {
  if (!ends.length) return undefined;
  const offsets = ends.map((end) => Math.abs(level(one, slope) - end.level) / Math.max(end.height, one.height));
  const number = argmax(offsets.map((distance) => -distance));
  return offsets[number] < MAX_OFFSET ? number : undefined;
}

/** Merge rows at the same level that stand beside each other: the digits of one line vary in height. */
function mergeLevelRows(rows, slope) {
  const merged = [];
  for (const digits of rows) {
    const row = {
      top: Math.min(...digits.map(({ box, centre }) => box[1] - slope * centre[0])),
      bottom: Math.max(...digits.map(({ box, centre }) => box[3] - slope * centre[0])),
      digits,
    };
    const beside = merged.find(
      (other) => isLevel(row, other) && !row.digits.some((one) => other.digits.some((two) => above(one, two))),
    );
    if (!beside) merged.push(row);
    else {
      beside.top = Math.min(beside.top, row.top);
      beside.bottom = Math.max(beside.bottom, row.bottom);
      beside.digits = [...beside.digits, ...row.digits].sort(fromLeft);
    }
  }
  return merged.map(({ digits }) => digits);
}

const isLevel = (row, other) =>
  Math.min(row.bottom, other.bottom) - Math.max(row.top, other.top) >
  LEVEL * Math.min(row.bottom - row.top, other.bottom - other.top);

/** Whether one digit stands above or below another, rather than beside it. */
function above({ box: one }, { box: other }) {
  const shared = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  return shared > ABOVE * Math.min(one[2] - one[0], other[2] - other[0]);
}
