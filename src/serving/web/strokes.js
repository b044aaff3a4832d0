// Strokes: their boxes, the digits that they belong to, and how they are drawn.

/** @typedef {number[][][]} Strokes each a list of points [x, y], in pixels */

export const BRUSH = 46; // pixels: width of strokes
const THICKEST = 0.25; // of the height or width of a digit, from stroke's middle to stroke's middle: as MNIST's are
const THINNEST = 3; // pixels
const SOFT = 6 / BRUSH; // of a stroke's width, which is its soft edge

/** The left, top, width and height of strokes. */
export function boxOf(strokes) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return [left - BRUSH / 2, top - BRUSH / 2, Math.max(...xs) - left + BRUSH, Math.max(...ys) - top + BRUSH];
}

/** Part strokes into digits, from left to right: those whose widths overlap belong to one. @returns {Strokes[]} */
export function digitsOf(strokes) {
  const digits = [];
  for (const stroke of [...strokes].sort((a, b) => boxOf([a])[0] - boxOf([b])[0])) {
    const last = digits.at(-1);
    const [left, , width] = last ? boxOf(last) : [0, 0, -1];
    if (last && boxOf([stroke])[0] < left + width) last.push(stroke);
    else digits.push([stroke]);
  }
  return digits;
}

/** Draw strokes on a context, `width` pixels wide. */
export function paint(paper, strokes, width = BRUSH) {
  paper.lineCap = paper.lineJoin = "round";
  paper.strokeStyle = paper.shadowColor = "#16181d";
  paper.lineWidth = (1 - SOFT) * width;
  paper.shadowBlur = SOFT * width;
  for (const points of strokes) trace(paper, points);
  paper.shadowBlur = 0;
}

/** Draw a line through points, a dot through one. */
export function trace(paper, [first, ...others]) {
  paper.beginPath();
  paper.moveTo(...first);
  for (const point of others.length ? others : [[first[0] + 0.1, first[1]]]) paper.lineTo(...point);
  paper.stroke();
}

/** Draw strokes on white paper to be read: thinner where they would fill a small digit's loops. */
export function legible(strokes, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, width, height);
  for (const digit of digitsOf(strokes)) paint(paper, digit, penFor(digit));
  return canvas;
}

function penFor(digit) {
  const [, , width, height] = boxOf(digit);
  const extent = Math.max(width, height) - BRUSH;
  return extent ? Math.min(Math.max(THICKEST * extent, THINNEST), BRUSH) : BRUSH;
}
