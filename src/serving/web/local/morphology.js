// Dilation, erosion and connected components, as OpenCV does them; what lies beyond the border does not count.

import { map, pixels } from "./pixels.js";

/** @typedef {number[][]} Element the steps [x, y] from a pixel to those that are compared with it */

/** @returns {Element} the pixels of a rectangle around its middle */
export function rectangle(width, height = width) {
  return element(width, height, () => true);
}

/** @returns {Element} the pixels of an ellipse in a square of `size` pixels, as cv2.getStructuringElement has it */
export function ellipse(size) {
  const radius = Math.floor(size / 2);
  return element(size, size, (x, y) => {
    const reach = radius ? Math.round(radius * Math.sqrt(Math.max(radius ** 2 - y ** 2, 0) / radius ** 2)) : 0;
    return Math.abs(y) <= radius && Math.abs(x) <= reach;
  });
}

function element(width, height, contains) {
  const steps = [];
  const [left, top] = [Math.floor(width / 2), Math.floor(height / 2)];
  for (let y = -top; y < height - top; y += 1) {
    for (let x = -left; x < width - left; x += 1) if (contains(x, y)) steps.push([x, y]);
  }
  return steps;
}

/** The largest value under the element at each pixel. @returns {import("./pixels.js").Pixels} */
export function dilate({ width, height, data }, steps) {
  const largest = data.slice();
  for (const [right, down] of steps) {
    for (let y = Math.max(0, -down); y < Math.min(height, height - down); y += 1) {
      const from = y * width;
      const distance = down * width + right;
      for (let at = from + Math.max(0, -right); at < from + Math.min(width, width - right); at += 1) {
        if (data[at + distance] > largest[at]) largest[at] = data[at + distance];
      }
    }
  }
  return pixels(width, height, largest);
}

/** The smallest value, 0..255, under the element at each pixel. @returns {import("./pixels.js").Pixels} */
export const erode = (image, steps) => inverted(dilate(inverted(image), steps));

/** Light for dark, 0..255. @returns {import("./pixels.js").Pixels} */
export const inverted = (image) => map(image, (grey) => 255 - grey);

/** How much lighter pixels are than all that holds a square of `size` pixels: an image minus its opening. */
export function topHat(image, size) {
  const [row, column] = [rectangle(size, 1), rectangle(1, size)];
  const opened = dilate(dilate(erode(erode(image, row), column), row), column);
  return map(image, (grey, place) => grey - opened.data[place]);
}

/**
 * Number the 8-connected components of a mask from 1; 0 is the background.
 * @returns {{labels: Int32Array, areas: number[]}} areas in pixels, by number, the background's too
 */
export function connectedComponents({ width, height, data }) {
  const labels = new Int32Array(width * height);
  const areas = [data.filter((value) => !value).length];
  data.forEach((value, start) => {
    if (value && !labels[start]) areas.push(fill(start, areas.length));
  });
  return { labels, areas };

  function fill(start, label) {
    let area = 0;
    labels[start] = label;
    for (const waiting = [start]; waiting.length; area += 1) {
      const place = waiting.pop();
      const [x, y] = [place % width, Math.floor(place / width)];
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row += 1) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column += 1) {
          const beside = row * width + column;
          if (!data[beside] || labels[beside]) continue;
          labels[beside] = label;
          waiting.push(beside);
        }
      }
    }
    return area;
  }
}

/** Otsu's threshold of greys 0..255: the one that makes the variance between both sides largest. */
export function otsu(greys) {
  const share = new Float64Array(256);
  for (const grey of greys) share[grey] += 1 / greys.length;
  const whole = share.reduce((total, part, grey) => total + part * grey, 0);
  let [best, level, below, weighted] = [0, 0, 0, 0];
  share.forEach((part, grey) => {
    below += part;
    weighted += part * grey;
    if (Math.min(below, 1 - below) < 1e-7) return;
    const variance = below * (1 - below) * (weighted / below - (whole - weighted) / (1 - below)) ** 2;
    if (variance > best) [best, level] = [variance, grey];
  });
  return level;
}
