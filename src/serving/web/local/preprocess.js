// The binarized digit becomes a 28x28 image, preprocessed as MNIST's were; see src/pictures/preprocess.py.

import { constants } from "./constants.js";
import { dilate, ellipse, erode } from "./morphology.js";
import { clip, median, percentile, round, sum } from "./numbers.js";
import { boundingBox, crop, map, pixels, place } from "./pixels.js";
import { AREA, LINEAR, resize } from "./resize.js";

export const { SIDE } = constants.preprocess;
const { DIGIT, SUPERSAMPLING, STROKE_WIDTHS, LONGEST, OFF_CENTRE, THICK, TEXTURE } = constants.preprocess;

/**
 * Convert a digit's mask to MNIST's style.
 * @param {import("./pixels.js").Pixels} mask
 * @returns {import("./pixels.js").Pixels} uint8 [28, 28], blank if the mask is empty
 */
export function toMnist(mask) {
  const box = boundingBox(mask);
  if (!box) return pixels(SIDE, SIDE);
  const [left, top, width, height] = box;
  const shape = map(crop(mask, left, top, left + width, top + height), (value) => 255 * value);
  const scale = (SUPERSAMPLING * DIGIT) / Math.max(width, height);
  const margin = 3 * SUPERSAMPLING;
  let fine = resize(shape, ...scaled(width, height, scale), scale < 1 ? AREA : LINEAR);
  const widthAfter = strokeWidth(shape) * scale;
  // averaging with the background would fade a thin stroke
  if (widthAfter < 1) fine = map(fine, (ink) => (ink > 127 * widthAfter ? 255 : 0));
  const framed = place(fine, fine.width + 2 * margin, fine.height + 2 * margin, margin, margin);
  return centre(fit(normalizeStrokeWidth(framed)));
}

const scaled = (width, height, scale) => [width, height].map((side) => Math.max(1, round(side * scale)));

/**
 * Estimate the stroke width from area and contour length, in pixels.
 *
 * A contour goes through the middles of pixels. Each 2x2 pixels that it crosses add to its length: 1 where two
 * neighbours are foreground, the diagonal where three are, and two diagonals where two opposite ones are.
 */
function strokeWidth(fine) {
  const { width, height, data } = place(
    map(fine, (ink) => (ink > 127 ? 1 : 0)),
    fine.width + 2,
    fine.height + 2,
    1,
    1,
  );
  let length = 0;
  for (let at = 0; at < (height - 1) * width; at += 1) {
    const [a, b, c, d] = [data[at], data[at + 1], data[at + width], data[at + width + 1]];
    const count = a + b + c + d;
    if (count === 3) length += Math.SQRT2;
    else if (count === 2) length += a === d ? 2 * Math.SQRT2 : 1;
  }
  return (2 * sum(data)) / Math.max(length, 1);
}

/** Dilate thin strokes and erode thick ones to the widths found in MNIST. */
function normalizeStrokeWidth(fine) {
  const width = strokeWidth(fine);
  const [low, high] = STROKE_WIDTHS.map((limit) => SUPERSAMPLING * limit);
  const change = round(clip(width, low, high) - width);
  if (change === 0) return fine;
  return (change > 0 ? dilate : erode)(fine, ellipse(Math.abs(change) + 1));
}

/** Crop to the foreground, scale the longer side to 20 pixels by area averaging, and stretch the maximum to 255. */
function fit(fine) {
  const box = boundingBox(map(fine, (ink) => (ink > 127 ? 1 : 0)));
  if (!box) return pixels(1, 1);
  const [left, top, width, height] = box;
  const size = scaled(width, height, DIGIT / Math.max(width, height));
  const digit = resize(crop(fine, left, top, left + width, top + height), ...size, AREA);
  const most = Math.max(1, ...digit.data);
  return map(digit, (ink) => round((ink * 255) / most));
}

/** Place a digit of at most 20x20 in 28x28 with its centre of mass at the centre, as nearly as it fits. */
export function centre(digit) {
  const { width, height, data } = digit;
  const weight = Math.max(1, sum(data));
  const x = data.reduce((total, ink, at) => total + ink * (at % width), 0) / weight;
  const y = data.reduce((total, ink, at) => total + ink * Math.floor(at / width), 0) / weight;
  const left = clip(round(SIDE / 2 - 0.5 - x), 0, SIDE - width);
  const top = clip(round(SIDE / 2 - 0.5 - y), 0, SIDE - height);
  return place(digit, SIDE, SIDE, left, top);
}

/**
 * Whether a 28x28 image should be classified without preprocessing: a centred digit of MNIST's size, or an image with a
 * textured or unevenly lit background or noise.
 * @param {import("./pixels.js").Pixels} image uint8
 */
export function isMnistStyle(image) {
  const [low, high] = [Math.min(...image.data), Math.max(...image.data)];
  const levels = Array.from(image.data, (grey) => (grey - low) / Math.max(high - low, 1));
  const inverted = median(border(levels)) > 0.5;
  const intensity = inverted ? levels.map((level) => 1 - level) : levels;
  const spread = percentile(border(intensity), 90) - percentile(border(intensity), 10);
  return spread > TEXTURE || isCentred(intensity);
}

const border = (values) =>
  values.filter((_, at) => [at % SIDE, Math.floor(at / SIDE)].some((p) => p < 2 || p >= SIDE - 2));

function isCentred(intensity) {
  const strong = pixels(
    SIDE,
    SIDE,
    Uint8Array.from(intensity, (level) => level > 0.5),
  );
  const [, , width, height] = boundingBox(strong) ?? [0, 0, SIDE, SIDE];
  const longest = Math.max(width, height);
  const offset = (position) =>
    sum(intensity.map((level, at) => level * (position(at) - (SIDE - 1) / 2))) / Math.max(sum(intensity), 1e-6);
  const distance = Math.hypot(
    offset((at) => at % SIDE),
    offset((at) => Math.floor(at / SIDE)),
  );
  const blocks = sum(
    erode(strong, [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ]).data.filter((_, at) => at % SIDE < SIDE - 1 && at < SIDE * (SIDE - 1)),
  );
  return longest >= LONGEST[0] && longest <= LONGEST[1] && distance < OFF_CENTRE && blocks > THICK * sum(strong.data);
}
