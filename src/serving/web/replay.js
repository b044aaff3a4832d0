// A drawing is shown again point by point: a slider takes its strokes back and gives them again.

import { canvas, look, showPart } from "./drawing.js";

const slider = document.getElementById("replay");
const row = document.getElementById("replay-row");
let whole = []; // strokes of the drawing
let own = false; // whether the canvas changes by the slider

const count = (strokes) => strokes.reduce((total, points) => total + points.length, 0);

function part(strokes, points) {
  let left = points;
  const cut = strokes.map((stroke) => stroke.slice(0, Math.max((left -= stroke.length) + stroke.length, 0)));
  return cut.filter((stroke) => stroke.length);
}

function follow() {
  if (own) return;
  whole = look().strokes;
  slider.max = count(whole);
  slider.value = slider.max;
  row.hidden = count(whole) < 2;
}

slider.addEventListener("input", () => {
  own = true;
  showPart(part(whole, Number(slider.value)), look().strokes === whole);
  own = false;
});
for (const event of ["change", "input"]) canvas.addEventListener(event, follow);
