// Reads any picture that the browser knows as a greyscale image of bounded size; see src/pictures/image_io.py.

import { constants } from "./constants.js";
import { argmax, round } from "./numbers.js";
import { pixels } from "./pixels.js";

const { MAX_PIXELS, MAX_BYTES, MAX_SIDE, CHANNEL_GAIN } = constants.image_io;

/**
 * @typedef {object} Picture
 * @property {import("./pixels.js").Pixels} grey uint8
 * @property {number} scale each pixel covers so many pixels of the original, both ways
 * @property {number} [left] of its left side in the original, without it 0
 * @property {number} [top] of its top side
 * @property {import("../strokes.js").Strokes} [strokes] of a drawing
 */

/**
 * Decode a picture, turned upright as its EXIF orientation says, and shrink it until no side is above MAX_SIDE.
 * @param {Blob} blob
 * @returns {Promise<Picture>}
 */
export async function readPicture(blob) {
  if (blob.size > MAX_BYTES) throw new Error(`the picture has more than ${MAX_BYTES >> 20} MiB; scale it down first`);
  const whole = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const [width, height] = [whole.width, whole.height];
  if (width * height > MAX_PIXELS) {
    whole.close();
    const most = MAX_PIXELS.toLocaleString("en");
    throw new Error(`the picture has ${width} x ${height} pixels; the most is ${most}, scale it down first`);
  }
  const scale = Math.ceil(Math.max(width, height) / MAX_SIDE);
  const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.ceil(side / scale));
  const bitmap =
    scale > 1 ? await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" }) : whole;
  const paper = new OffscreenCanvas(resizeWidth, resizeHeight).getContext("2d", { willReadFrequently: true });
  paper.drawImage(bitmap, 0, 0);
  whole.close();
  bitmap.close();
  return { grey: toGrey(paper.getImageData(0, 0, resizeWidth, resizeHeight)), scale };
}

/**
 * Luminance, or the colour channel with clearly more contrast: yellow on white, red on green.
 * @param {ImageData} image
 * @returns {import("./pixels.js").Pixels} uint8
 */
function toGrey({ width, height, data }) {
  compositeAlpha(data);
  const [red, green, blue] = [0, 1, 2].map((first) => channel(data, first));
  const luminance = new Uint8Array(width * height);
  for (let at = 0; at < luminance.length; at += 1)
    luminance[at] = round(0.299 * red[at] + 0.587 * green[at] + 0.114 * blue[at]);
  const deviations = [red, green, blue].map(deviation);
  const best = argmax(deviations);
  const clearer = deviations[best] > CHANNEL_GAIN * deviation(luminance);
  return pixels(width, height, clearer ? [red, green, blue][best] : luminance);
}

function channel(data, first) {
  const values = new Uint8Array(data.length / 4);
  for (let at = 0; at < values.length; at += 1) values[at] = data[4 * at + first];
  return values;
}

function deviation(values) {
  let [total, squares] = [0, 0];
  for (const value of values) {
    total += value;
    squares += value * value;
  }
  return Math.sqrt(Math.max(squares / values.length - (total / values.length) ** 2, 0));
}

/** Composite RGBA over white, or over black if the opaque pixels are light, in place. */
function compositeAlpha(data) {
  let [light, opaque] = [0, 0]; // sums
  for (let at = 0; at < data.length; at += 4) {
    light += (data[at] + data[at + 1] + data[at + 2]) * data[at + 3];
    opaque += data[at + 3];
  }
  if (opaque === (255 * data.length) / 4) return;
  const background = light / Math.max(3 * opaque, 1) > 127 ? 0 : 255;
  for (let at = 0; at < data.length; at += 1) {
    const alpha = data[at - (at % 4) + 3] / 255;
    if (at % 4 < 3) data[at] = round(data[at] * alpha + background * (1 - alpha));
  }
}
