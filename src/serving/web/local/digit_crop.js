// Each detected digit is cut out and binarized, for the classifier to read it again; see src/pictures/digit_crop.py.

import { constants } from "./constants.js";
import { gaussianBlur } from "./filters.js";
import { connectedComponents, inverted, otsu, topHat } from "./morphology.js";
import { clip, mean, round } from "./numbers.js";
import { boundingBox, crop, map, pixels, place } from "./pixels.js";
import { AREA, CUBIC, resize } from "./resize.js";

const { HEIGHT, MARGIN, MARGIN_ALONE, WIDEST_STROKE, MIN_CONTRAST, SLACK, WITHIN, SPECK } = constants.digit_crop;

/**
 * Cut a digit out of a picture.
 * @param {import("./pixels.js").Pixels} grey uint8
 * @param {import("./detections.js").Detection} detection
 * @param {boolean} alone whether it is the only one, so that strokes that end outside its box are its own
 * @returns {{mask: import("./pixels.js").Pixels, sides: number[]}} its foreground, empty where there is
 *   none; and the left, top, right and bottom of the foreground in the picture, or of the detection where there is none
 */
export function cutOut(grey, { box }, alone) {
  const [left, top, right, bottom] = box;
  const margin = (alone ? MARGIN_ALONE : MARGIN) * (bottom - top) + 1;
  const [x0, y0] = [left, top].map((side) => Math.max(Math.trunc(side - margin), 0));
  const x1 = Math.min(Math.trunc(right + margin) + 1, grey.width);
  const y1 = Math.min(Math.trunc(bottom + margin) + 1, grey.height);
  if (x1 <= x0 || y1 <= y0) return { mask: pixels(2, 2), sides: box };
  const scale = HEIGHT / (bottom - top);
  const [width, height] = [x1 - x0, y1 - y0].map((side) => Math.max(round(side * scale), 2));
  const digit = resize(crop(grey, x0, y0, x1, y1), width, height, scale < 1 ? AREA : CUBIC);
  const mask = foregroundWithin(
    digit,
    [left - x0, top - y0, right - x0, bottom - y0].map((side) => side * scale),
    alone,
  );
  const inner = boundingBox(mask);
  if (!inner) return { mask, sides: box };
  const [x, y, wide, high] = inner.map((side) => side / scale);
  return { mask, sides: [x0 + x, y0 + y, x0 + x + wide, y0 + y + high] };
}

/**
 * Binarize a crop: top-hat transform, Otsu's threshold, and the connected components that lie in the digit's box.
 * @param {import("./pixels.js").Pixels} digit uint8, the digit and some background
 * @param {number[]} inner left, top, right and bottom of its box
 * @param {boolean} alone whether components that end outside the box, not at the crop's edge as rulings do, stay whole
 * @returns {import("./pixels.js").Pixels} mask
 */
function foregroundWithin(digit, inner, alone) {
  const slack = SLACK * (inner[3] - inner[1]);
  const size = [digit.width, digit.height];
  const corner = size.map((most, axis) => clip(Math.trunc(inner[axis] - slack), 0, most));
  const end = size.map((most, axis) => clip(Math.trunc(inner[axis + 2] + slack) + 1, corner[axis], most));
  const inBox = (image) => crop(image, ...corner, ...end);
  const blurred = gaussianBlur(digit, 1);
  const smooth = backgroundIsLight(blurred, inBox) ? inverted(blurred) : blurred;
  const contrast = topHat(smooth, WIDEST_STROKE);
  const contrasts = inBox(contrast).data;
  if (contrasts.every((value) => value < MIN_CONTRAST)) return pixels(...size);
  const level = otsu(contrasts);
  const { labels, areas } = connectedComponents(map(contrast, (value) => value > level));
  const labelsInBox = inBox(pixels(...size, labels));
  const inside = areas.map(() => 0);
  for (const label of labelsInBox.data) inside[label] += 1;
  const largest = Math.max(0, ...inside.slice(1));
  const within = areas.map((area, label) => label > 0 && inside[label] > WITHIN * area);
  const any = within.some((yes, label) => yes && inside[label] > SPECK * largest);
  const belongs = (label) => label > 0 && (!any || within[label]);
  if (alone && any) {
    const whole = map(pixels(...size, labels), belongs, Uint8Array);
    if (!reachesEdge(whole)) return whole;
  }
  return place(map(labelsInBox, belongs, Uint8Array), ...size, ...corner);
}

/** Whether a mask is true anywhere at its edge. */
function reachesEdge({ width, height, data }) {
  const atEdge = (x, y) => x === 0 || y === 0 || x === width - 1 || y === height - 1;
  return data.some((yes, at) => yes && atEdge(at % width, Math.floor(at / width)));
}

/** Whether the larger side of Otsu's threshold, in a digit's box and around it, is the lighter one. */
function backgroundIsLight(digit, inBox) {
  const level = otsu(digit.data);
  const light = map(digit, (grey) => grey > level);
  return mean(inBox(light).data) + mean(light.data) > 1;
}
