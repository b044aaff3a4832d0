// Local contrast normalization: the spotter's input; see src/pictures/contrast.py.

import { constants } from "./constants.js";
import { blur } from "./filters.js";
import { clip } from "./numbers.js";
import { pixels } from "./pixels.js";

const { WINDOW, FLOOR, LIMIT } = constants.contrast;

/**
 * Subtract from each pixel the mean of the window around it, and divide by the window's standard deviation.
 * @param {import("./pixels.js").Pixels} grey uint8
 * @returns {import("./pixels.js").Pixels} float32, -5..5
 */
export function localContrast(grey) {
  const { width, height, data } = grey;
  const residual = blur(grey, WINDOW).data;
  for (let at = 0; at < data.length; at += 1) residual[at] = data[at] - residual[at];
  const squares = pixels(width, height, new Float32Array(data.length));
  for (let at = 0; at < data.length; at += 1) squares.data[at] = residual[at] * residual[at];
  const normalized = blur(squares, WINDOW);
  for (let at = 0; at < data.length; at += 1) {
    const deviation = Math.sqrt(Math.max(normalized.data[at], 0));
    normalized.data[at] = clip(residual[at] / (deviation + FLOOR), -LIMIT, LIMIT);
  }
  return normalized;
}
