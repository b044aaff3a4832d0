// The panel that teaches the network a hand: a digit is drawn, and a button says which one it is.

import { clear, isEmpty } from "./drawing.js";
import { file, forget, keep, load, look, study, takeBack, use } from "./hand.js";

const ENOUGH = 5; // digits of a class

const element = (id) => document.getElementById(id);
let classes = [];
let seen = () => null; // the image of the one digit that is drawn, 28 rows of 28 greys
let changed = () => null; // called when answers are given by other weights

/** Show the panel for a model's classes. */
export function offerTeaching(names, image, answerAgain) {
  [classes, seen, changed] = [names, image, answerAgain];
  element("labels").replaceChildren(...classes.map(labelButton));
  show();
}

function labelButton(name, label) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.append(name, Object.assign(document.createElement("span"), { className: "dots", ariaHidden: "true" }));
  button.addEventListener("click", () => busy(() => add(label)));
  return button;
}

async function add(label) {
  const image = seen();
  if (isEmpty() || !image) return (element("lesson").textContent = "Draw one digit first; then say which one it is.");
  await keep(image.flat(), label);
  clear();
  show();
}

// Nothing can be pressed while one thing is done.
async function busy(task) {
  for (const part of ["teach", "labels"]) element(part).inert = true;
  await task().catch(({ message }) => tell(`That did not work: ${message}`));
  for (const part of ["teach", "labels"]) element(part).inert = false;
}

async function teachIt() {
  tell("Learning…");
  const start = performance.now();
  await study();
  show(`Learned in ${((performance.now() - start) / 1000).toFixed(1)} s. `);
  changed();
}

function show(first = "") {
  const { samples, learned, next, used } = look();
  const counts = classes.map((_, label) => samples.filter((one) => one.label === label).length);
  [...element("labels").children].forEach((button, label) => {
    button.lastChild.textContent = "●".repeat(Math.min(counts[label], ENOUGH)).padEnd(ENOUGH, "○");
    button.ariaLabel = `It is a ${classes[label]}; ${counts[label]} taught`;
  });
  const wanted = counts.indexOf(Math.min(...counts));
  const more = `Draw a ${classes[wanted]}, then press it here, or its key.`;
  const ask = counts[wanted] < ENOUGH ? more : "That is enough: let it learn.";
  element("lesson").textContent = ask;
  element("learn").disabled = element("take-back").disabled = samples.length === 0;
  element("keep-hand").disabled = element("forget").disabled = samples.length === 0;
  element("use").checked = used && learned !== null;
  element("use").disabled = learned === null;
  element("taught").textContent = learned && used ? " · it answers as you taught it" : "";
  tell(first + told(learned, next));
}

function told(learned, { count, before, after }) {
  if (!learned) return "";
  const lost = 100 * (learned.before - learned.after);
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const way = lost < 0.005 ? "none fewer" : `${lost.toFixed(2)} points fewer`;
  const mnist = `Of MNIST's test images it reads ${way}: ${percent(learned.before)} before, ${percent(learned.after)} now.`;
  const drawings = count
    ? ` Of your ${count} next drawings the network alone read ${before} before; it reads ${after} now.`
    : " Draw on, and press what it is: your next drawings show what it has learned.";
  return `From ${learned.of} drawings. ${mnist}${drawings}`;
}

function tell(sentence) {
  element("report").textContent = sentence;
}

function save() {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file()), download: "hand.json" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function restore(blob) {
  const done = await load(blob);
  show();
  if (done) changed();
  else tell("That file holds no hand that was taught to this model.");
}

element("learn").addEventListener("click", () => busy(teachIt));
element("take-back").addEventListener("click", () => {
  takeBack();
  show();
});
element("keep-hand").addEventListener("click", save);
element("hand-file").addEventListener("change", ({ target }) => {
  const [chosen] = target.files;
  target.value = "";
  if (chosen) busy(() => restore(chosen));
});
element("forget").addEventListener("click", () => {
  forget();
  show();
  changed();
});
element("use").addEventListener("change", ({ target }) => {
  use(target.checked);
  show();
  changed();
});
document.addEventListener("keydown", ({ key, ctrlKey, metaKey, altKey, target }) => {
  const typing = ctrlKey || metaKey || altKey || target.matches("input:not([type=checkbox]), select");
  const label = classes.indexOf(key);
  if (element("teach").open && !element("teach").inert && !typing && label >= 0) busy(() => add(label));
});
