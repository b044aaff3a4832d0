// A picture becomes candidates: the 28x28 images that may be its digits; see src/pictures/candidates.py.

import { constants, model } from "./constants.js";
import { overlapping } from "./detections.js";
import { cutOut } from "./digit_crop.js";
import { textLines } from "./lines.js";
import { clip, round } from "./numbers.js";
import { boundingBox, map } from "./pixels.js";
import { SIDE, toMnist } from "./preprocess.js";
import { boxOf, digitsOf, pictureOf } from "../strokes.js";

const { ROTATIONS, MIN_RANGE, FILLS } = constants.candidates;

/**
 * @typedef {object} Candidate a possible digit
 * @property {import("./pixels.js").Pixels[]} images its 28x28 test-time augmentations
 * @property {number[]} box left, top, width and height in the picture
 * @property {number} line index of the line of text
 * @property {Float32Array} [scores] those of the spotter, [10]
 * @property {boolean} [unspotted] whether the spotter found no digit, so that the answer cannot be trusted
 */

/**
 * Prepare a picture's digit, or all of its digits in reading order.
 * @param {import("./image_io.js").Picture} picture
 * @param {import("./spotter.js").Spotter | null} spotter null if the model's classes are not the digits that it knows
 * @returns {Promise<Candidate[]>}
 */
export async function prepare(picture, several, spotter, progress) {
  const { grey, strokes } = picture;
  const small = grey.width === SIDE && grey.height === SIDE;
  if (small && !several) return smallCandidate(grey);
  if (!spotter) return drawnCandidates(picture, several);
  const found = await spotter.spot(grey, several, progress);
  if (several)
    return distinct(
      textLines(found).flatMap((line, number) => line.map((digit) => spottedCandidate(digit, picture, number))),
    );
  const clearest = found.reduce((best, digit) => (digit.probability > (best?.probability ?? 0) ? digit : best), null);
  if (clearest) return [spottedCandidate(clearest, picture, 0, true)];
  if (strokes) return isHigh(grey) ? drawnCandidates(picture, false).map((one) => ({ ...one, unspotted: true })) : [];
  return [];
}

/** Whether what is drawn is as high as a digit would be. */
const isHigh = (grey) => boundingBox(foreground(grey))[3] >= FILLS * grey.height;

const foreground = (grey) => map(grey, (value) => value < 128);

/** Make the candidates of strokes, which need not be found. */
function drawnCandidates({ strokes }, several) {
  if (!strokes)
    throw new Error(
      `this page reads photos of digits only, and ${model.name} knows others; \`mnist-cnn serve\` reads photos too`,
    );
  const digits = several ? digitsOf(strokes) : [strokes];
  return digits.map((own) => ({
    images: testTimeAugmentations(toMnist(foreground(pictureOf(own).grey))),
    box: boxOf(own),
    line: 0,
  }));
}

/** Make the candidate of a detection, perhaps the only one. */
function spottedCandidate(detection, { grey, scale, left = 0, top = 0 }, line, alone = false) {
  const { mask, sides } = cutOut(grey, detection, alone);
  const [x0, y0, x1, y1] = sides.map((side) => round(side * scale));
  const box = [left + Math.max(x0, 0), top + Math.max(y0, 0), Math.max(x1 - x0, 1), Math.max(y1 - y0, 1)];
  return { images: [toMnist(mask)], box, line, scores: detection.scores };
}

/** Keep of two neighbours whose foreground is that of one digit the clearer. */
function distinct(found) {
  const kept = [];
  for (const one of found) {
    if (!kept.length || !sameDigit(kept.at(-1).box, one.box)) kept.push(one);
    else if (Math.max(...one.scores) > Math.max(...kept.at(-1).scores)) kept[kept.length - 1] = one;
  }
  return kept;
}

/** Whether two boxes, of left, top, width and height, show the same digit. */
function sameDigit(...boxes) {
  const sides = boxes.map(([left, top, width, height]) => [left, top, left + width, top + height]);
  return overlapping(sides[0], sides)[1].same;
}

/** Make the candidate of a 28x28 image as it is; none if it is blank. */
function smallCandidate(image) {
  if (Math.max(...image.data) - Math.min(...image.data) < MIN_RANGE) return [];
  return [{ images: [image], box: [0, 0, SIDE, SIDE], line: 0 }];
}

/** A 28x28 image and two slightly rotated copies, since handwriting slants differently from MNIST's. */
export function testTimeAugmentations(image) {
  return [image, ...ROTATIONS.map((degrees) => rotated(image, degrees))];
}

/** Rotate a 28x28 image by degrees, counter-clockwise, with linear interpolation. */
function rotated(image, degrees) {
  const [cos, sin] = [Math.cos, Math.sin].map((part) => part((degrees * Math.PI) / 180));
  const middle = (SIDE - 1) / 2;
  const at = (x, y) => image.data[clip(y, 0, SIDE - 1) * SIDE + clip(x, 0, SIDE - 1)];
  return map(image, (_, place) => {
    const [right, down] = [(place % SIDE) - middle, Math.floor(place / SIDE) - middle];
    const [x, y] = [middle + cos * right - sin * down, middle + sin * right + cos * down];
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const upper = at(left, top) * (left + 1 - x) + at(left + 1, top) * (x - left);
    const lower = at(left, top + 1) * (left + 1 - x) + at(left + 1, top + 1) * (x - left);
    return round(upper * (top + 1 - y) + lower * (y - top));
  });
}
