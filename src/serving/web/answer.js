// What the page says: which model reads, what it reads, and how sure it is.

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let classes = []; // of the model
let threshold = 0; // of the probability of a confident prediction
let kind = "digit"; // what the classes are

export function introduce(info) {
  classes = info.classes;
  threshold = info.probability_threshold;
  kind = classes.every((name) => /^\d$/.test(name)) ? "digit" : "shape";
  const right = `: ${(100 * info.accuracy).toFixed(2)} % of the ${info.dataset} test images read right.`;
  element("about").textContent = info.name + (info.accuracy === null ? `, trained on ${info.dataset}.` : right);
  document.title = element("title").textContent = `Draw a ${kind}`;
  element("kind").textContent = `several ${kind}s`;
  element("bars").replaceChildren(...classes.map(bar));
}

function bar(name) {
  const row = element("bar").content.cloneNode(true);
  row.querySelector("span").textContent = name;
  row.querySelector("meter").setAttribute("aria-label", `Probability of ${name}`);
  return row;
}

export function tell({ text, digits }, several) {
  const letters = several && classes.every((name) => name.length === 1); // the text has line breaks
  const doubt = doubts(digits, several);
  const lowest = percent(Math.min(...digits.map(({ probability }) => probability)));
  const likely = several ? `the least likely ${kind}: ${lowest}` : `${lowest} likely`;
  say(letters ? text.replaceAll("\n", " ") : list(digits), doubt ? `Not sure: ${doubt}` : likely, doubt !== "");
  element("digit").className = "";
  fill(digits.length === 1 ? digits[0].probabilities : null);
  see(digits.map(({ image }) => image));
}

const list = (digits) => digits.map(({ label }) => label).join(", ");

// Why digits are not confident: improbable, or else out of distribution.
function doubts(digits, several) {
  const unsure = digits.filter(({ confident }) => !confident);
  const outliers = unsure.filter(({ probability }) => probability >= threshold);
  const unlike = `unlike the ${kind}s that the model knows`;
  const sentences = unsure
    .filter(({ probability }) => probability < threshold)
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
  fail("Reading…", words, false);
}

export function fail(title, sentence, problem = true) {
  say(title, sentence, problem);
  element("digit").className = "words";
  fill(null);
  see([]);
}

function say(title, sentence, problem) {
  if (element("digit").textContent !== title) element("digit").textContent = title; // else it is announced again
  element("sure").className = problem ? "unsure" : "";
  element("sure").textContent = sentence;
}

function fill(probabilities) {
  [...element("bars").children].forEach((row, place) => {
    const value = probabilities ? probabilities[place] : 0;
    row.querySelector("meter").value = value;
    row.querySelector("output").textContent = probabilities ? percent(value) : "";
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
