// The page: what is on the canvas is read, and what it says is told.

import { fail, introduce, nothing, offer, tell, wait } from "./answer.js";
import { canUndo, canvas, clear, isEmpty, look, mark, show, undo } from "./drawing.js";
import { offerExamples } from "./examples.js";
import { offerFooling } from "./fool.js";
import { remember, retell } from "./hand.js";
import { lookInside, prepareInside } from "./inside.js";
import { useModel } from "./network.js";
import { docs, modelInfo, read } from "./reader.js";
import "./replay.js";
import { digitsOf } from "./strokes.js";
import { offerTeaching } from "./teach.js";

const SLOW = 250; // milliseconds without an answer before the page asks again, if there is something else to read
const PATIENCE = 400; // milliseconds without an answer before the page says what it is doing
const RETRY = 3000; // milliseconds before a request that failed temporarily is sent again

const element = (id) => document.getElementById(id);
let digit = null; // the only one of the answer on the page
let info = null; // of the model, once it is known
let asked = 0; // number of the newest question
let shown = 0; // number of the question whose answer is on the page
let stale = false; // whether what is on the canvas differs from what was asked last
let following = false;
let timer = null;

/** Ask until the newest that is on the canvas has been asked: one question at a time, unless an answer is late. */
async function follow() {
  stale = true;
  if (following) return;
  following = true;
  while (stale) {
    stale = false;
    await Promise.race([ask(), new Promise((done) => setTimeout(done, SLOW))]);
  }
  following = false;
}

function change() {
  shown = asked; // what is still being asked is of no interest any more
  element("undo").disabled = !canUndo();
  element("clear").disabled = isEmpty();
  element("hint").hidden = !isEmpty();
  follow();
}

async function ask() {
  clearTimeout(timer);
  timer = null;
  const number = (asked += 1);
  const several = element("several").checked;
  const patience = losePatience((words) => number === asked && number > shown && wait(words));
  try {
    const answer = await answerTo(several, patience.hear);
    if (number <= shown) return; // a newer answer is on the page already
    shown = number;
    present(answer, several);
  } catch (error) {
    if (number <= shown || number < asked) return; // a newer question is being answered
    mark([]);
    const temporary = error.cause === "temporary";
    fail("No answer", temporary ? `${error.message}; this page asks again by itself` : error.message);
    if (temporary) timer ??= setTimeout(follow, RETRY);
  } finally {
    patience.end();
  }
}

/** Hear words, and say the newest of them once the patience is over, also if they came before and no others follow. */
function losePatience(say) {
  let newest = null;
  let over = false;
  const timeout = setTimeout(() => {
    over = true;
    if (newest !== null) say(newest);
  }, PATIENCE);
  const hear = (words) => {
    newest = words;
    if (over) say(words);
  };
  return { hear, end: () => clearTimeout(timeout) };
}

function present(answer, several) {
  const { strokes, photo } = look();
  const drawn = digitsOf(strokes).length;
  const digits = answer?.digits ?? [];
  mark(photo || drawn > 1 ? digits.map(({ box }) => box) : []);
  offer(!several && drawn > 1);
  if (digits.length) tell(answer, several);
  else nothing(answer !== null);
  digit = digits.length === 1 ? digits[0] : null;
  lookInside(digits[0] ?? null);
}

async function answerTo(several, progress) {
  info ??= await connect(progress);
  if (isEmpty()) return null;
  const { strokes, photo } = look();
  const answer = await read({ photo: photo?.blob, strokes }, several, progress);
  if (answer.model && answer.model.hash !== info.hash) info = await connect(progress); // the server restarted with another model
  return retell(answer, info);
}

async function connect(progress) {
  const found = await modelInfo(progress);
  introduce(found);
  useModel(found);
  prepareInside(found);
  const digitsOfMnist = found.dataset === "mnist" && found.explains.includes("features");
  element("teach").hidden = element("fool").hidden = !digitsOfMnist;
  if (digitsOfMnist) {
    await remember(found.hash);
    offerTeaching(found.classes, seen, follow);
    offerFooling(found.classes, seen);
  }
  return found;
}

const seen = () => digit?.image ?? null;

async function choose(picture) {
  if (await show(picture)) return;
  clearTimeout(timer); // or what is on the canvas would be read again, and its answer replace this one
  shown = asked;
  fail("That is not a picture", "choose a photo, scan or drawing");
}

function readSeveral(several) {
  element("several").checked = several;
  follow();
}

canvas.addEventListener("change", change);
canvas.addEventListener("input", follow);
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", clear);
element("several").addEventListener("change", follow);
element("offer").addEventListener("click", () => readSeveral(true));
for (const id of ["file", "camera"]) {
  element(id).addEventListener("change", ({ target }) => {
    const [picture] = target.files;
    target.value = ""; // or the same file could not be chosen again
    if (picture) choose(picture);
  });
}
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

offerExamples(readSeveral);
element("docs").hidden = !docs;
follow();
