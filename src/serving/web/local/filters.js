// Blurring, as cv2.blur and cv2.GaussianBlur do it.

import { map, pixels } from "./pixels.js";
import { round, sum } from "./numbers.js";

/** Index of a mirrored line of `length` values, whose ends are repeated (cv2.BORDER_REFLECT). */
function reflect(index, length) {
  const place = ((index % (2 * length)) + 2 * length) % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
}

/** Index of a mirrored line of `length` values, whose ends are not repeated (cv2.BORDER_REFLECT_101). */
function reflect101(index, length) {
  const period = Math.max(2 * length - 2, 1);
  const place = ((index % period) + period) % period;
  return place < length ? place : period - place;
}

/** Put the values of a line between mirrored ones. @returns {Float64Array} with `reach` more values at both ends */
function framed(line, reach, mirror) {
  const longer = new Float64Array(line.length + 2 * reach);
  longer.set(line, reach);
  for (let step = 1; step <= reach; step += 1) {
    longer[reach - step] = line[mirror(-step, line.length)];
    longer[reach + line.length - 1 + step] = line[mirror(line.length - 1 + step, line.length)];
  }
  return longer;
}

/**
 * The mean of a window of `size` x `size` pixels around each pixel, mirrored at the border.
 * @returns {import("./pixels.js").Pixels} float32
 */
export function blur({ width, height, data }, size) {
  const reach = (size - 1) / 2;
  const rows = new Float64Array(width * height); // the sums of each row's windows
  for (let y = 0; y < height; y += 1) {
    const line = framed(data.subarray(y * width, (y + 1) * width), reach, reflect);
    let total = 0;
    for (let x = 0; x < size - 1; x += 1) total += line[x];
    for (let x = 0; x < width; x += 1) {
      total += line[x + size - 1];
      rows[y * width + x] = total;
      total -= line[x];
    }
  }
  return meansOfColumns(rows, width, height, reach);
}

function meansOfColumns(rows, width, height, reach) {
  const result = pixels(width, height, new Float32Array(width * height));
  const totals = new Float64Array(width);
  const area = (2 * reach + 1) ** 2;
  const add = (y, sign) => {
    const start = reflect(y, height) * width;
    for (let x = 0; x < width; x += 1) totals[x] += sign * rows[start + x];
  };
  for (let y = -reach; y < reach; y += 1) add(y, 1);
  for (let y = 0; y < height; y += 1) {
    add(y + reach, 1);
    for (let x = 0; x < width; x += 1) result.data[y * width + x] = totals[x] / area;
    add(y - reach, -1);
  }
  return result;
}

/**
 * Blur greys 0..255 with a Gaussian kernel of three standard deviations each way.
 * @returns {import("./pixels.js").Pixels} uint8
 */
export function gaussianBlur({ width, height, data }, sigma) {
  const reach = Math.round(3 * sigma);
  const bell = Array.from({ length: 2 * reach + 1 }, (_, place) =>
    Math.exp(-((place - reach) ** 2) / (2 * sigma ** 2)),
  );
  const kernel = bell.map((weight) => weight / sum(bell));
  const wide = new Float64Array(width * height);
  for (let y = 0; y < height; y += 1) {
    const line = framed(data.subarray(y * width, (y + 1) * width), reach, reflect101);
    for (const [step, weight] of kernel.entries()) {
      for (let x = 0; x < width; x += 1) wide[y * width + x] += weight * line[x + step];
    }
  }
  const both = new Float64Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (const [step, weight] of kernel.entries()) {
      const start = reflect101(y + step - reach, height) * width;
      for (let x = 0; x < width; x += 1) both[y * width + x] += weight * wide[start + x];
    }
  }
  return map(pixels(width, height, both), round, Uint8Array);
}
