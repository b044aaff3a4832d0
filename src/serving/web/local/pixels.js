// Pictures of one channel, row by row.

/**
 * @typedef {object} Pixels
 * @property {number} width
 * @property {number} height
 * @property {Uint8Array | Float32Array} data height x width values: greys 0..255; of a mask, 0 and 1
 */

/** @returns {Pixels} */
export const pixels = (width, height, data = new Uint8Array(width * height)) => ({ width, height, data });

/** Apply a function of value and index to each pixel, by default keeping the type of its values. @returns {Pixels} */
export function map({ width, height, data }, change, type = data.constructor) {
  const changed = new type(data.length);
  for (let place = 0; place < data.length; place += 1) changed[place] = change(data[place], place);
  return pixels(width, height, changed);
}

/** Cut out the pixels from (left, top) up to, without, (right, bottom). @returns {Pixels} */
export function crop(image, left, top, right, bottom) {
  const cut = pixels(right - left, bottom - top, new image.data.constructor((right - left) * (bottom - top)));
  for (let y = top; y < bottom; y += 1) {
    cut.data.set(image.data.subarray(y * image.width + left, y * image.width + right), (y - top) * cut.width);
  }
  return cut;
}

/** Lay pixels on a blank picture of another size, their corner at (left, top). @returns {Pixels} */
export function place(image, width, height, left, top) {
  const whole = pixels(width, height, new image.data.constructor(width * height));
  for (let y = 0; y < image.height; y += 1) {
    whole.data.set(image.data.subarray(y * image.width, (y + 1) * image.width), (y + top) * width + left);
  }
  return whole;
}

/**
 * The smallest box around what is not 0.
 * @returns {number[] | null} left, top, width and height; null where all is 0
 */
export function boundingBox({ width, height, data }) {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (!data[y * width + x]) continue;
      [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), y];
    }
  }
  return right < 0 ? null : [left, top, right - left + 1, bottom - top + 1];
}
