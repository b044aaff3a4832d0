// The panel to fool the network: its own errors to choose from, sliders and a pen to alter one, and the smallest change
// that makes it another digit.

import { altered, inked } from "./alter.js";
import { best } from "./last_layer.js";
import { worstTest } from "./mnist.js";
import { classify } from "./network.js";
import { show, signed, thumbnail } from "./pixel_canvas.js";
import { smallestChange } from "./smallest_change.js";

const element = (id) => document.getElementById(id);
const SLIDERS = ["turn", "right", "down", "noise", "contrast"];

let classes = [];
let seen = () => null; // the image of the one digit that is drawn
let image = null; // 784 greys that are altered
let truth = null; // its class, if it is known
let result = null; // what the network sees
let stale = false;
let judging = false;

/** Prepare the panel for a model's classes. */
export function offerFooling(names, drawn) {
  [classes, seen] = [names, drawn];
  element("goal").replaceChildren(...classes.map((name, place) => new Option(name, place)));
  if (element("fool").open) open();
}

async function open() {
  if (element("errors").childElementCount || !classes.length) return;
  const { images, labels } = await worstTest();
  const found = (await classify(images)).map(best);
  const wrong = images.flatMap((own, number) => (found[number] === labels[number] ? [] : [number]));
  element("errors").replaceChildren(...wrong.map((number) => choice(images[number], labels[number], found[number])));
  const words = `It reads these ${wrong.length} of MNIST's test images wrong. Choose one, or take your drawing; alter it.`;
  element("fool-words").textContent = wrong.length ? words : "It reads all test images that came with this page right.";
  if (wrong.length && !image) choose(images[wrong[0]], labels[wrong[0]]);
}

function choice(own, label, read) {
  const button = Object.assign(document.createElement("button"), { type: "button" });
  button.ariaLabel = button.title = `A ${classes[label]} that it reads as ${classes[read]}`;
  button.append(thumbnail(own));
  button.addEventListener("click", () => choose(own, label));
  return button;
}

function choose(own, label) {
  [image, truth] = [Uint8Array.from(own), label];
  for (const name of SLIDERS) element(name).value = element(name).defaultValue;
  element("difference").hidden = true;
  follow();
}

function follow() {
  const how = Object.fromEntries(SLIDERS.map((name) => [name, Number(element(name).value)]));
  result = altered(image, how);
  show(element("altered"), result);
  judgeNewest();
}

async function judgeNewest() {
  stale = true;
  if (judging) return;
  judging = true;
  while (stale) {
    stale = false;
    const own = truth;
    await classify([result]).then(
      ([probabilities]) => tell(probabilities, own),
      ({ message }) => (element("verdict").textContent = message),
    );
  }
  judging = false;
}

function tell(probabilities, own) {
  const order = probabilities.map((_, place) => place).sort((one, other) => probabilities[other] - probabilities[one]);
  const likely = order.slice(0, 3).map((place) => `${classes[place]} ${(100 * probabilities[place]).toFixed(1)} %`);
  const known = own === null ? "" : ` It was written as ${classes[own]}.`;
  element("verdict").textContent = `The network alone reads ${likely.join(", ")}.${known}`;
  element("verdict").className = own === null || order[0] === own ? "small" : "small unsure";
}

async function change() {
  const [goal, before] = [Number(element("goal").value), result];
  element("fool").inert = true;
  element("verdict").textContent = "Searching…";
  const found = await smallestChange(before, goal).catch(() => null);
  element("fool").inert = false;
  if (!found) return (element("verdict").textContent = `No small change makes it a ${classes[goal]}.`);
  choose(found, truth);
  const difference = [...found].map((grey, at) => grey - before[at]);
  element("difference").hidden = false;
  show(element("change"), difference, signed(Math.max(...difference.map(Math.abs), 1)));
  const length = Math.hypot(...difference) / 255;
  const most = Math.max(...difference.map(Math.abs));
  element("change-words").textContent = most
    ? `What was added (blue) and taken away (orange): at most ${most} of 255 greys in a pixel, ${length.toFixed(2)} in all.`
    : `It is a ${classes[goal]} to the network already.`;
}

function pen(event) {
  if (!(event.buttons & 1) || !image) return;
  const { left, top, width, height } = event.target.getBoundingClientRect();
  const at = [(28 * (event.clientX - left)) / width, (28 * (event.clientY - top)) / height];
  const drawn = inked(result, ...at);
  choose(drawn, truth);
}

for (const name of SLIDERS) element(name).addEventListener("input", () => image && follow());
for (const event of ["pointerdown", "pointermove"]) element("altered").addEventListener(event, pen);
element("smallest").addEventListener("click", () => image && change());
element("take").addEventListener("click", () => {
  const drawn = seen();
  if (drawn) choose(drawn.flat(), null);
  else element("verdict").textContent = "Draw one digit above first.";
});
element("fool").addEventListener("toggle", () => {
  if (element("fool").open) open().catch(({ message }) => (element("fool-words").textContent = message));
});
