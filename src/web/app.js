// The page: strokes or a photo on a canvas, and what the reader says about them.

import { about, read } from "./reader.js";

const BRUSH = 46; // of the canvas' 560 pixels
const PAUSE = 60; // milliseconds without a new point before the drawing is read

const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const paper = canvas.getContext("2d", { willReadFrequently: true });
const strokes = []; // each a list of [x, y]
let photo = null; // { blob, bitmap }, shown instead of strokes
let boxes = []; // of the photo, in its own pixels
let drawing = null; // the stroke being drawn
let asked = 0; // number of the newest question
let shown = 0; // number of the question whose answer is on the page
let timer = null;

for (let digit = 0; digit < 10; digit += 1) {
  const row = document.createElement("li");
  row.innerHTML = `<span>${digit}</span><meter min="0" max="1" value="0" aria-label="Probability of ${digit}"></meter>`;
  row.append(document.createElement("output"));
  element("bars").append(row);
}

function draw() {
  paper.fillStyle = "#fff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  if (photo) drawPhoto();
  paper.lineCap = paper.lineJoin = "round";
  paper.strokeStyle = paper.shadowColor = "#16181d";
  paper.lineWidth = BRUSH - 6;
  paper.shadowBlur = 6;
  for (const stroke of strokes) {
    paper.beginPath();
    paper.moveTo(...stroke[0]);
    for (const point of stroke.length > 1 ? stroke : [[stroke[0][0] + 0.1, stroke[0][1]]]) paper.lineTo(...point);
    paper.stroke();
  }
  paper.shadowBlur = 0;
  element("undo").disabled = strokes.length === 0;
  element("clear").disabled = strokes.length === 0 && !photo;
  element("hint").hidden = strokes.length > 0 || photo !== null;
}

function drawPhoto() {
  const { width, height } = photo.bitmap;
  const scale = Math.min(canvas.width / width, canvas.height / height);
  const [left, top] = [(canvas.width - scale * width) / 2, (canvas.height - scale * height) / 2];
  paper.drawImage(photo.bitmap, left, top, scale * width, scale * height);
  paper.lineWidth = 4;
  paper.strokeStyle = "#0b62a8";
  for (const [x, y, w, h] of boxes) paper.strokeRect(left + scale * x, top + scale * y, scale * w, scale * h);
}

function place(event) {
  const frame = canvas.getBoundingClientRect();
  const scale = canvas.width / frame.width;
  return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
}

function start(event) {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  if (photo) clear();
  drawing = [place(event)];
  strokes.push(drawing);
  change();
}

function move(event) {
  if (!drawing) return;
  const points = event.getCoalescedEvents?.() ?? [];
  for (const point of points.length ? points : [event]) drawing.push(place(point));
  change();
}

function change() {
  draw();
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE);
}

function undo() {
  strokes.pop();
  change();
}

function clear() {
  shown = asked; // what is still being asked is of no interest any more
  strokes.length = 0;
  boxes = [];
  photo = null;
  change();
}

async function show(blob) {
  clear();
  try {
    photo = { blob, bitmap: await createImageBitmap(blob) };
    change();
  } catch {
    clearTimeout(timer); // or the empty canvas would be read, and its answer replace this one
    say("That is not a picture", "choose a photo, scan or drawing", true);
  }
}

async function ask() {
  const number = (asked += 1);
  if (!photo && strokes.length === 0) {
    shown = number;
    nothing();
    return;
  }
  const several = element("several").checked;
  try {
    const answer = await read({ photo: photo?.blob, canvas, strokes, brush: BRUSH }, several);
    if (number <= shown) return; // a newer answer is on the page already
    shown = number;
    tell(answer, several);
  } catch (error) {
    if (number > shown) say("No answer", error.message, true);
  }
}

function tell(answer, several) {
  boxes = photo ? answer.boxes : [];
  if (photo) draw();
  if (answer.boxes.length === 0) {
    nothing();
    return;
  }
  const all = several ? answer.probabilities : [answer.probabilities];
  const sure = several ? answer.confident : [answer.confident];
  const least = Math.min(...all.map((row) => Math.max(...row)));
  const doubt = !sure.every(Boolean);
  element("digit").className = "";
  element("digit").textContent = `${answer.digit}`;
  element("sure").className = doubt ? "unsure" : "";
  const likely = `${(100 * least).toFixed(1)} %`;
  element("sure").textContent = doubt ? `Not sure: improbable, or unlike a digit (${likely})` : several ? `the least likely digit: ${likely}` : `${likely} likely`;
  bars(all.length === 1 ? all[0] : null);
  see(answer.images);
}

function nothing() {
  say("No digit yet", "", false);
  bars(null);
  see([]);
}

function say(title, sentence, problem) {
  element("digit").className = "words";
  element("digit").textContent = title;
  element("sure").className = problem ? "unsure" : "";
  element("sure").textContent = sentence;
}

function bars(probabilities) {
  [...element("bars").children].forEach((row, digit) => {
    const value = probabilities ? probabilities[digit] : 0;
    row.querySelector("meter").value = value;
    row.querySelector("output").textContent = probabilities ? `${(100 * value).toFixed(1)} %` : "";
    row.className = probabilities && value === Math.max(...probabilities) ? "best" : "";
  });
}

function see(images) {
  const seen = element("seen");
  seen.width = 28 * Math.max(1, images.length);
  seen.style.width = `${Math.min(112 * Math.max(1, images.length), 28 * 12)}px`;
  seen.style.height = `${Math.min(112, (28 * 12) / Math.max(1, images.length))}px`;
  const pen = seen.getContext("2d");
  images.forEach((rows, number) => {
    const pixels = new ImageData(28, 28);
    rows.flat().forEach((grey, place) => pixels.data.set([grey, grey, grey, 255], 4 * place));
    pen.putImageData(pixels, 28 * number, 0);
  });
}

canvas.addEventListener("pointerdown", start);
canvas.addEventListener("pointermove", move);
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drawing = null));
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", clear);
element("several").addEventListener("change", ask);
element("file").addEventListener("change", (event) => event.target.files[0] && show(event.target.files[0]));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  if (event.key === "z" && (event.ctrlKey || event.metaKey) && strokes.length) {
    event.preventDefault();
    undo();
  }
});
document.addEventListener("paste", (event) => {
  const picture = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (picture) show(picture);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  canvas.classList.add("over");
});
document.addEventListener("dragleave", () => canvas.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  canvas.classList.remove("over");
  if (event.dataTransfer.files[0]) show(event.dataTransfer.files[0]);
});

draw();
about().then((card) => {
  if (card) element("about").textContent = `${card.name}: ${(100 * card.accuracy).toFixed(2)} % of the ${card.dataset} test images read right.`;
});
