// Dilation, erosion and connected components, as OpenCV does them; what lies beyond the border does not count.

import { map, pixels } from "./pixels.js";

/** @typedef {number[][]} Element the steps [x, y] from a pixel to those that are compared with it */

/** @returns {Element} the pixels of an ellipse in a square of `size` pixels, as cv2.getStructuringElement has it */
export function ellipse(size) {
  const radius = Math.floor(size / 2);
  const steps = [];
  for (let y = -radius; y < size - radius; y += 1) {
    const reach = radius ? Math.round(radius * Math.sqrt(Math.max(radius ** 2 - y ** 2, 0) / radius ** 2)) : 0;
    for (let x = -radius; x < size - radius; x += 1) if (Math.abs(x) <= reach) steps.push([x, y]);
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

/** How much lighter pixels are than all that holds a square of an odd `size` in pixels: an image minus its opening. */
export function topHat(image, size) {
  const opened = dilateSquare(inverted(dilateSquare(inverted(image), size)), size);
  return map(image, (grey, place) => grey - opened.data[place]);
}

/** The largest value in the square around each pixel. */
const dilateSquare = (image, size) => dilateRows(dilateRows(image, size), size);

/**
 * The largest of the `size` values around each pixel of a row, transposed. A window is the end of one block of `size`
 * values and the start of the next (van Herk 1992, "A fast algorithm for local minimum and maximum filters on
 * rectangular and octagonal kernels", section 3).
 */
function dilateRows({ width, height, data }, size) {
  const transposed = pixels(height, width);
  const row = new Uint8Array(width + size - 1);
  for (let y = 0; y < height; y += 1) {
    row.set(data.subarray(y * width, (y + 1) * width), (size - 1) / 2);
    const [starts, ends] = [row.slice(), row.slice()]; // the largest so far of a block, from its start and its end
    for (let block = 0; block < row.length; block += size) {
      const end = Math.min(block + size, row.length);
      for (let at = block + 1; at < end; at += 1) starts[at] = Math.max(starts[at], starts[at - 1]);
      for (let at = end - 2; at >= block; at -= 1) ends[at] = Math.max(ends[at], ends[at + 1]);
    }
    for (let x = 0; x < width; x += 1) transposed.data[x * height + y] = Math.max(ends[x], starts[x + size - 1]);
  }
  return transposed;
}

/**
 * Number the 8-connected components of a mask from 1; 0 is the background.
 * @returns {{labels: Int32Array, areas: number[]}} areas in pixels, by number, the background's too
 */
export function connectedComponents({ width, height, data }) {
  const labels = new Int32Array(width * height);
  const areas = [0];
  for (let start = 0; start < data.length; start += 1) {
    if (!data[start]) areas[0] += 1;
    else if (!labels[start]) areas.push(fill(start, areas.length));
  }
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
