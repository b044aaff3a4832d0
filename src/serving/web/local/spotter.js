// The spotter finds the digits of a grey picture of any size, with a fully convolutional network; see
// src/pictures/spotter.py.

import * as ort from "../ort/ort.wasm.min.mjs";
import { constants } from "./constants.js";
import { localContrast } from "./contrast.js";
import {
  meanProbability,
  modeHeight,
  ofHeight,
  peaks,
  sameHeight,
  suppress,
  union,
  withWeights,
} from "./detections.js";
import { round } from "./numbers.js";
import { crop, place } from "./pixels.js";
import { AREA, CUBIC, resize } from "./resize.js";

const { NEAR, MULTIPLE, SMALLEST, LARGEST, LOOKS, FARTHER, LARGE, BUDGET, FURTHER, MOST } = constants.spotter;
const { STRIP, MARGIN, VISIBLE, CLOSER } = constants.spotter;
const { CLEAR } = constants.detections;

/** A trained spotter. */
export class Spotter {
  /** @param {ort.InferenceSession} session of an .onnx file that `mnist-cnn train-spotter` wrote */
  constructor(session) {
    this.session = session;
  }

  /**
   * Find all digits of a picture, or, unless `several`, the tallest that are clear.
   *
   * An image pyramid is searched from its top. Where most detections have a height that the network reads well, the
   * picture is read at that scale; when a reading is clear, one closer level is the last, or none if one digit is
   * sought. A level less than twice as close is only for a picture in which nothing is read before.
   * @param {import("./pixels.js").Pixels} grey uint8
   * @param {(done: number) => Promise} progress called before each scale with the share of scales that are done
   * @returns {Promise<import("./detections.js").Detection[]>}
   */
  async spot(grey, several, progress) {
    const pyramid = imagePyramid(grey);
    const readings = [];
    const scales = searchScales(grey);
    let [before, height] = [[], 0];
    for (const [number, scale] of scales.entries()) {
      await progress(number / scales.length);
      const isLast = (scales[number + 1] ?? 0) < 2 * scale;
      const found = await this.detect(pyramid, scale);
      const mode = modeHeight([...before, ...found]);
      before = found;
      if (mode > VISIBLE / scale / (isLast ? 8 : 2) && !sameHeight(mode, height)) {
        height = mode;
        readings.push(await this.read(pyramid, height));
      }
      const isClear = Math.max(...readings.map(meanProbability)) > CLEAR;
      const isClose = !several || scale * height > VISIBLE * CLOSER;
      if (readings.some((reading) => reading.length) && (isLast || (isClear && isClose))) break;
    }
    return union(readings);
  }

  /** Detect digits of about a height, in pixels, at several scales, and merge the detections. */
  async read(pyramid, height) {
    const isLarge = pyramid[0].data.length * (LOOKS[0] / height) ** 2 >= LARGE;
    const found = [];
    const merged = () => suppress(ofHeight(found, height));
    let budget = BUDGET;
    for (const [number, look] of (isLarge ? [FARTHER] : [...LOOKS, FURTHER]).entries()) {
      if (look === FURTHER && (budget < 0 || meanProbability(merged()) > CLEAR)) break;
      const scale = look / height;
      budget -= round(pyramid[0].data.length * scale ** 2);
      if (found.length && budget < 0) continue;
      found.push(...(await this.detect(pyramid, scale)));
      if (number === 0 && !merged().length) return [];
    }
    return merged();
  }

  /**
   * Detect digits in a scaled picture.
   * @returns {Promise<Float32Array[]>} weighted peaks, with boxes in pixels of the picture
   */
  async detect(pyramid, wanted) {
    const [whole] = pyramid;
    const scale = Math.min(wanted, Math.sqrt(MOST / whole.data.length));
    const [width, height] = [whole.width, whole.height].map((side) => Math.max(round(side * scale), 1));
    const nearest = pyramid.findLast((level) => level.height >= height) ?? whole;
    const contrast = localContrast(resize(nearest, width, height, scale < 1 ? AREA : CUBIC));
    const found = [];
    for (const [first, last] of strips(height, width)) found.push(...(await this.detectIn(contrast, first, last)));
    for (const peak of found) {
      for (const side of [10, 12]) peak[side] *= whole.width / width;
      for (const side of [11, 13]) peak[side] *= whole.height / height;
    }
    return found;
  }

  /** Detect the digits whose centres lie in some rows of a picture's local contrast: weighted peaks. */
  async detectIn(contrast, first, last) {
    const top = Math.max(first - MARGIN, 0);
    const rows = crop(contrast, 0, top, contrast.width, Math.min(last + MARGIN, contrast.height));
    const [right, bottom] = [rows.width, rows.height].map((side) => Math.ceil(side / MULTIPLE) * MULTIPLE);
    const input = new ort.Tensor("float32", place(rows, right, bottom, 0, 0).data, [1, 1, bottom, right]);
    const { output } = await this.session.run({ contrast: input });
    const found = withWeights(peaks(output.data, ...output.dims.slice(2)));
    for (const peak of found) for (const side of [11, 13]) peak[side] += top;
    return found.filter((peak) => (peak[11] + peak[13]) / 2 >= first && (peak[11] + peak[13]) / 2 < last);
  }
}

/** Divide the rows of a picture into strips that the network sees one at a time, which bounds memory. */
function strips(height, width) {
  const count = Math.ceil((height * width) / STRIP);
  const edges = Array.from({ length: count }, (_, number) => round((height * number) / count / MULTIPLE) * MULTIPLE);
  return edges.map((first, number) => [first, edges[number + 1] ?? height + MARGIN]);
}

/**
 * Halve a picture repeatedly, down to the smallest level that is searched.
 * @returns {import("./pixels.js").Pixels[]}
 */
export function imagePyramid(grey) {
  const levels = [grey];
  for (let last = grey; Math.min(last.width, last.height) >= 4 && last.height >= 2 * SMALLEST; last = levels.at(-1)) {
    levels.push(resize(last, Math.ceil(last.width / 2), Math.ceil(last.height / 2), AREA));
  }
  return levels;
}

/** The scales at which a picture of a size is searched: doubling, and its own size or the largest. */
export function searchScales({ width, height }) {
  const first = SMALLEST / height;
  const own = Math.min(1, Math.sqrt(LARGEST / (width * height)));
  const last = Math.max(own, height < 3 * SMALLEST ? 2 * first : 0);
  const scales = Array.from({ length: 12 }, (_, n) => first * 2 ** n).filter((scale, n) => scale <= last * NEAR || !n);
  return own > scales.at(-1) * NEAR ? [...scales, own] : scales;
}
