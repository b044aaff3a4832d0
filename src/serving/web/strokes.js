// Strokes become a small grey picture, the same for the service and for the page without one: a digit is as high and as
// bold in it as the networks read best, whatever its size on the canvas.

/** @typedef {number[][][]} Strokes each a list of points [x, y], in pixels of the canvas */

/**
 * @typedef {object} Picture
 * @property {{width: number, height: number, data: Uint8Array}} grey black on white
 * @property {number} scale each of its pixels covers so many of the canvas, both ways
 * @property {number} left of its left side on the canvas
 * @property {number} top of its top side on the canvas
 */

export const BRUSH = 46; // pixels of the canvas: width of a stroke
const HEIGHT = 44; // pixels of the picture: the longer side of a digit
const PEN = 0.12; // of that: width of a stroke
const MARGIN = 0.6; // of that: white around the digits
const LEAST = BRUSH / 2; // pixels of the canvas: the longer side of the smallest digit; what is smaller is a dot
const MOST = 250_000; // pixels of a picture, which bounds the time to read it
const GAP = 0.25; // of its height: how far below a digit its next stroke may begin
const SOFT = 6 / BRUSH; // of a stroke's width, which is its soft edge

/** The left, top, right and bottom of strokes' middles. */
function sidesOf(strokes) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flat().map((point) => point[axis]));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** The left, top, width and height of strokes. */
export function boxOf(strokes) {
  const [left, top, right, bottom] = sidesOf(strokes);
  return [left - BRUSH / 2, top - BRUSH / 2, right - left + BRUSH, bottom - top + BRUSH];
}

/** The longer side of strokes. */
function extentOf(strokes) {
  const [left, top, right, bottom] = sidesOf(strokes);
  return Math.max(right - left, bottom - top, LEAST);
}

/** Part strokes into digits, from left to right: those above each other belong to one. @returns {Strokes[]} */
export function digitsOf(strokes) {
  let digits = [];
  for (const stroke of strokes) {
    const own = digits.filter((digit) => belong(sidesOf(digit), sidesOf([stroke])));
    digits = [...digits.filter((digit) => !own.includes(digit)), [...own.flat(), stroke]];
  }
  return digits.sort((one, other) => sidesOf(one)[0] - sidesOf(other)[0]);
}

function belong(one, other) {
  const gap = Math.max(one[1], other[1]) - Math.min(one[3], other[3]);
  const higher = Math.max(one[3] - one[1], other[3] - other[1]);
  return one[0] <= other[2] && other[0] <= one[2] && gap <= GAP * higher;
}

/** Draw strokes as they look on the canvas. */
export function paint(paper, strokes) {
  paper.lineCap = paper.lineJoin = "round";
  paper.strokeStyle = paper.shadowColor = "#16181d";
  paper.lineWidth = (1 - SOFT) * BRUSH;
  paper.shadowBlur = SOFT * BRUSH;
  for (const points of strokes) trace(paper, points);
  paper.shadowBlur = 0;
}

/** Draw a line through points, a dot through one. */
function trace(paper, [first, ...others]) {
  paper.beginPath();
  paper.moveTo(...first);
  for (const point of others.length ? others : [[first[0] + 0.1, first[1]]]) paper.lineTo(...point);
  paper.stroke();
}

/**
 * Draw strokes to be read: as one digit, or as several, each with a pen that fits its size.
 * @returns {Picture}
 */
export function pictureOf(strokes, several) {
  const digits = several ? digitsOf(strokes) : [strokes];
  const extents = digits.map(extentOf);
  const usual = [...extents].sort((one, other) => one - other)[extents.length >> 1];
  const [x0, y0, x1, y1] = sidesOf(strokes);
  const margin = (MARGIN + PEN / 2) * Math.max(...extents);
  const [wide, high] = [x1 - x0, y1 - y0].map((side) => side + 2 * margin);
  const scale = Math.max(((1 + PEN) * usual) / HEIGHT, Math.sqrt((wide * high) / MOST));
  const [left, top] = [x0 - margin, y0 - margin];
  const [width, height] = [wide, high].map((side) => Math.ceil(side / scale));
  const paper = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, width, height);
  paper.scale(1 / scale, 1 / scale);
  paper.translate(-left, -top);
  paper.lineCap = paper.lineJoin = "round";
  digits.forEach((digit, number) => {
    paper.lineWidth = PEN * extents[number];
    for (const points of digit) trace(paper, points);
  });
  const { data } = paper.getImageData(0, 0, width, height);
  return { grey: { width, height, data: data.filter((_, at) => at % 4 === 0) }, scale, left, top };
}
