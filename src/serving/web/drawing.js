// What is on the canvas, strokes or a photo, and all that was there before, for Undo.
// The canvas tells with "change" that something else is on it, and with "input" that a stroke grows.

import { paint } from "./strokes.js";

export const canvas = document.getElementById("canvas");
const paper = canvas.getContext("2d", { willReadFrequently: true });
const EMPTY = { strokes: [], photo: null }; // strokes are lists of [x, y]

let content = EMPTY;
const past = []; // contents, the oldest first
let pen = null; // pointerId of what draws the last stroke
let boxes = []; // around the digits, in pixels of the canvas, or of the photo
let chosen = 0; // number of the newest change, which a photo that is still being decoded must not replace

export const look = () => content;
export const isEmpty = () => content === EMPTY;
export const canUndo = () => past.length > 0;

function put(next) {
  chosen += 1;
  content = next;
  pen = null;
  boxes = [];
  draw();
  canvas.dispatchEvent(new Event("change"));
}

function replace(next) {
  past.push(content);
  put(next);
}

export function undo() {
  if (canUndo()) put(past.pop());
}

export function clear() {
  if (!isEmpty()) replace(EMPTY);
}

// Put a picture on the canvas; resolves to false, and changes nothing, where the blob is none.
export async function show(blob) {
  const number = (chosen += 1);
  const photo = await decode(blob).catch(() => null);
  if (number !== chosen) return true; // something newer is on the canvas
  if (photo) replace({ strokes: [], photo });
  return photo !== null;
}

async function decode(blob) {
  const whole = await createImageBitmap(blob);
  const scale = Math.min(canvas.width / whole.width, canvas.height / whole.height);
  const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((side) => Math.max(1, Math.round(scale * side)));
  const bitmap = await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
  whole.close(); // 64 megapixels are 256 MB, too much to keep for Undo
  return { blob, bitmap, scale };
}

/** Show a part of the drawing; Undo gives the whole back, which is on the canvas if it is the `first` part. */
export function showPart(strokes, first) {
  const part = strokes.length ? { strokes, photo: null } : EMPTY;
  if (first) replace(part);
  else put(part);
}

/** Put boxes around the digits that were found. */
export function mark(found) {
  if (!found.length && !boxes.length) return;
  boxes = found;
  draw();
}

function draw() {
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  const { strokes, photo } = content;
  const [left, top] = photo ? ["width", "height"].map((side) => (canvas[side] - photo.bitmap[side]) / 2) : [0, 0];
  if (photo) paper.drawImage(photo.bitmap, left, top);
  paint(paper, strokes);
  paper.lineWidth = 4;
  paper.strokeStyle = "#0b62a8";
  const scale = photo?.scale ?? 1;
  for (const [x, y, w, h] of boxes) paper.strokeRect(left + scale * x, top + scale * y, scale * w, scale * h);
}

function place(event) {
  const frame = canvas.getBoundingClientRect();
  const scale = canvas.width / frame.width;
  return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
}

function begin(point) {
  replace({ strokes: [...content.strokes, [point]], photo: null });
}

function extend(points) {
  content.strokes.at(-1).push(...points);
  draw();
  canvas.dispatchEvent(new Event("input"));
}

/** Write strokes on an empty canvas, `count` points a frame, until something else is done. */
export async function write(strokes, count) {
  clear();
  for (const [first, ...rest] of strokes) {
    begin(first);
    const own = chosen;
    while (rest.length) {
      await new Promise(requestAnimationFrame);
      if (own !== chosen) return;
      extend(rest.splice(0, count));
    }
  }
}

function start(event) {
  if (event.button !== 0 || (pen !== null && pen !== event.pointerId)) return;
  canvas.setPointerCapture(event.pointerId);
  begin(place(event));
  pen = event.pointerId;
}

function move(event) {
  if (event.pointerId !== pen) return;
  const points = event.getCoalescedEvents?.() ?? [];
  extend((points.length ? points : [event]).map(place));
}

canvas.addEventListener("pointerdown", start);
canvas.addEventListener("pointermove", move);
for (const end of ["pointerup", "lostpointercapture"]) {
  canvas.addEventListener(end, (event) => {
    if (event.pointerId === pen) pen = null;
  });
}
canvas.addEventListener("pointercancel", (event) => {
  if (event.pointerId === pen) undo(); // the system took the touch for a palm or a gesture: it was no stroke
});
draw();
