// Strokes, whose widths are known, become 28x28 images in MNIST's style without a look at pixels.

import { BRUSH, boxOf, trace } from "../strokes.js";
import { constants } from "./constants.js";
import { clip } from "./numbers.js";
import { map, pixels } from "./pixels.js";
import { centre } from "./preprocess.js";
import { AREA, resize } from "./resize.js";

const { DIGIT, STROKE_WIDTHS } = constants.preprocess;
const FINE = 8; // strokes are drawn so many times finer, then averaged

/**
 * Draw strokes as MNIST would have had them.
 * @param {import("../strokes.js").Strokes} strokes
 * @returns {import("./pixels.js").Pixels} uint8 [28, 28]
 */
export function strokesToMnist(strokes) {
  const [left, top, width, height] = boxOf(strokes);
  const longest = Math.max(width, height);
  const pen = clip((BRUSH * DIGIT) / longest, ...STROKE_WIDTHS);
  const scale = (DIGIT - pen) / Math.max(longest - BRUSH, 1);
  const canvas = new OffscreenCanvas(DIGIT * FINE, DIGIT * FINE);
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  paper.scale(FINE, FINE);
  paper.translate(pen / 2, pen / 2);
  paper.scale(scale, scale);
  paper.translate(-left - BRUSH / 2, -top - BRUSH / 2);
  paper.lineCap = paper.lineJoin = "round";
  paper.lineWidth = pen / scale;
  for (const points of strokes) trace(paper, points);
  const { data } = paper.getImageData(0, 0, canvas.width, canvas.height);
  const ink = resize(
    pixels(
      canvas.width,
      canvas.height,
      data.filter((_, at) => at % 4 === 3),
    ),
    DIGIT,
    DIGIT,
    AREA,
  );
  const most = Math.max(1, ...ink.data);
  return centre(map(ink, (value) => Math.round((255 * value) / most)));
}
