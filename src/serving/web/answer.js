// What the page says: which model reads, what it reads, and how sure it is.

import { see } from "./seen.js";

const SETTLED = 600; // milliseconds without another answer before a screen reader has it

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let classes = []; // of the model
let kind = "digit"; // what the classes are
let timer = null;

export function introduce(info) {
  classes = info.classes;
  kind = classes.every((name) => /^\d$/.test(name)) ? "digit" : "shape";
  const right = `: ${(100 * info.accuracy).toFixed(2)} % of the ${info.dataset} test images read right.`;
  element("about").textContent = info.name + (info.accuracy === null ? `, trained on ${info.dataset}.` : right);
  document.title = element("title").textContent = `Draw a ${kind}`;
  element("kind").textContent = `several ${kind}s`;
  element("inside").hidden = info.weights === null; // a .pth is not explained
  element("examples").hidden = kind !== "digit";
  const weights = info.weights === null ? "" : ` · ${info.weights.toLocaleString("en")} weights`;
  const trained = info.trained === null ? "" : ` · trained ${info.trained}`;
  const rest = `${info.hash.slice(0, 8)} · version ${info.version}`;
  element("model").textContent = `Who answers: ${info.name}${weights}${trained} · ${rest}`;
  element("bars").replaceChildren(...classes.map(bar));
  element("links").replaceChildren(element("docs"), ...Object.entries(info.links).map(link));
}

function link([name, address]) {
  return Object.assign(document.createElement("a"), { href: address, textContent: name, rel: "noreferrer" });
}

function bar(name) {
  const row = element("bar").content.cloneNode(true);
  row.querySelector("span").textContent = name;
  row.querySelector("meter").setAttribute("aria-label", `Probability of ${name}`);
  return row;
}

export function tell({ text, digits }, several) {
  const letters = several && classes.every((name) => name.length === 1);
  const doubt = doubts(digits, several);
  const least = digits.reduce((one, other) => (other.probability < one.probability ? other : one));
  const lowest = percent(least.probability);
  const likely = several ? `the least likely ${kind}: ${lowest}` : `${lowest} likely`;
  const title = letters ? text.replaceAll("\n", " ") : list(digits); // the text has line breaks
  say(title, doubt ? `Not sure: ${doubt}` : likely, doubt !== "", letters && digits);
  if (letters) point(element("digit").querySelectorAll(".glyph")[digits.indexOf(least)], least.probabilities);
  else fill(digits.length === 1 ? least.probabilities : null);
  see(digits.map(({ image }) => image));
}

const list = (digits) => digits.map(({ label }) => label).join(", ");

// Why digits are not confident: improbable, or else out of distribution.
function doubts(digits, several) {
  const unsure = digits.filter(({ confident }) => !confident);
  const outliers = unsure.filter(({ doubt }) => doubt !== "improbable");
  const unlike = `unlike the ${kind}s that the model knows`;
  const sentences = unsure
    .filter(({ doubt }) => doubt === "improbable")
    .map(({ label, probability }) => `${several ? `${label} is ` : ""}only ${percent(probability)} likely`);
  for (const { label, probability } of several ? [] : outliers) {
    sentences.push(`${unlike}; if it is one, ${label} is ${percent(probability)} likely`);
  }
  if (several && outliers.length) sentences.push(`${list(outliers)} ${outliers.length > 1 ? "are" : "is"} ${unlike}`);
  return sentences.join("; ");
}

export function nothing(drawn) {
  fail(`No ${kind} ${drawn ? "found" : "yet"}`, "", false);
}

export function wait(words) {
  fail("One moment…", words, false);
}

export function fail(title, sentence, problem = true) {
  say(title, sentence, problem);
  element("digit").className = "words";
  fill(null);
  see([]);
}

/** Offer to read all digits, where several seem to have been drawn. */
export function offer(open) {
  element("offer").className = open ? "open" : "";
}

function say(title, sentence, problem, digits = null) {
  if (digits) element("digit").replaceChildren(...glyphs(title, [...digits]));
  else element("digit").textContent = title;
  element("digit").className = ["", "long", "longer"][(title.length > 7) + (title.length > 20)];
  element("sure").className = problem ? "unsure" : "";
  element("sure").textContent = element("sure").title = sentence;
  clearTimeout(timer);
  timer = setTimeout(() => (element("spoken").textContent = `${title}. ${sentence}`), SETTLED);
}

// Each digit with a bar of its probability; the bars show those of the one that is pointed at.
function glyphs(text, digits) {
  return text.split("").map((letter) => {
    if (letter === " ") return letter;
    const { label, probability, probabilities, confident } = digits.shift();
    const glyph = Object.assign(document.createElement("button"), { type: "button", textContent: label });
    glyph.className = confident ? "glyph" : "glyph unsure";
    glyph.style.setProperty("--share", `${100 * probability}%`);
    const order = classes.map((_, place) => place).sort((one, other) => probabilities[other] - probabilities[one]);
    const likely = order.slice(0, 3).map((place) => `${classes[place]} ${percent(probabilities[place])}`);
    glyph.title = likely.join(", ");
    for (const event of ["pointerenter", "focus", "click"]) glyph.addEventListener(event, () => point(glyph, probabilities));
    return glyph;
  });
}

function point(glyph, probabilities) {
  element("digit").querySelector("[aria-current]")?.removeAttribute("aria-current");
  glyph.setAttribute("aria-current", "true");
  fill(probabilities);
}

function fill(probabilities) {
  [...element("bars").children].forEach((row, place) => {
    const value = probabilities ? probabilities[place] : 0;
    row.querySelector("meter").value = value;
    row.querySelector("output").textContent = probabilities ? percent(value) : "";
    row.className = probabilities && value === Math.max(...probabilities) ? "best" : "";
  });
}
