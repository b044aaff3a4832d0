// The page: what is on the canvas is read, and what it says is told.

import { fail, introduce, nothing, tell, wait } from "./answer.js";
import { canUndo, canvas, clear, isEmpty, look, mark, show, undo } from "./drawing.js";
import { docs, modelInfo, read } from "./reader.js";
import { legible } from "./strokes.js";

const PAUSE = 60; // milliseconds without a new point before the drawing is read
const PATIENCE = 400; // milliseconds without an answer before the page says what it is doing
const RETRY = 3000; // milliseconds before a request that failed temporarily is sent again

const element = (id) => document.getElementById(id);
let info = null; // of the model, once it is known
let asked = 0; // number of the newest question
let shown = 0; // number of the question whose answer is on the page
let timer = null;

function askIn(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(ask, milliseconds);
}

function change() {
  shown = asked; // what is still being asked is of no interest any more
  element("undo").disabled = !canUndo();
  element("clear").disabled = isEmpty();
  element("hint").hidden = !isEmpty();
  askIn(PAUSE);
}

async function ask() {
  clearTimeout(timer);
  timer = null;
  const number = (asked += 1);
  const several = element("several").checked;
  const start = performance.now();
  const progress = (words) => number === asked && number > shown && performance.now() - start > PATIENCE && wait(words);
  try {
    const answer = await answerTo(several, progress);
    if (number <= shown) return; // a newer answer is on the page already
    shown = number;
    mark((answer?.digits ?? []).map(({ box }) => box));
    if (answer?.digits.length) tell(answer, several);
    else nothing(answer !== null);
  } catch (error) {
    if (number <= shown || number < asked) return; // a newer question is being answered
    mark([]);
    const temporary = error.cause === "temporary";
    fail("No answer", temporary ? `${error.message}; this page asks again by itself` : error.message);
    if (temporary) timer ??= setTimeout(ask, RETRY);
  }
}

async function answerTo(several, progress) {
  info ??= await connect();
  if (isEmpty()) return null;
  const { strokes, photo } = look();
  const drawing = photo ? null : legible(strokes, canvas.width, canvas.height);
  const answer = await read({ photo: photo?.blob, drawing, strokes }, several, progress);
  if (answer.model && answer.model.hash !== info.hash) info = await connect(); // the server restarted with another model
  return answer;
}

async function connect() {
  const found = await modelInfo();
  introduce(found);
  return found;
}

async function choose(picture) {
  if (await show(picture)) return;
  clearTimeout(timer); // or what is on the canvas would be read, and its answer replace this one
  shown = asked;
  fail("That is not a picture", "choose a photo, scan or drawing");
}

canvas.addEventListener("change", change);
canvas.addEventListener("input", () => askIn(PAUSE));
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", clear);
element("several").addEventListener("change", ask);
element("file").addEventListener("change", ({ target }) => {
  const [picture] = target.files;
  target.value = ""; // or the same file could not be chosen again
  if (picture) choose(picture);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    undo();
  }
});
document.addEventListener("paste", (event) => {
  const picture = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (picture) choose(picture);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  canvas.classList.add("over");
});
document.addEventListener("dragleave", () => canvas.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  canvas.classList.remove("over");
  if (event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
});

element("docs").hidden = !docs;
ask();
