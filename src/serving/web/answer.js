// What the page says: which model reads, what it reads, and how sure it is.

const element = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(1)} %`;

let classes = []; // of the model
let least = 0; // probability of an answer to be trusted
let kind = "digit"; // what the classes are

export function introduce(card) {
  classes = card.classes;
  least = card.probability_threshold;
  kind = classes.every((name) => /^\d$/.test(name)) ? "digit" : "shape";
  const right = `: ${(100 * card.accuracy).toFixed(2)} % of the ${card.dataset} test images read right.`;
  element("about").textContent = card.name + (card.accuracy === null ? `, trained on ${card.dataset}.` : right);
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

export function tell({ digit, probabilities, confident, images }, several) {
  const rows = several ? probabilities : [probabilities];
  const found = rows.map((row, place) => {
    const probability = Math.max(...row);
    return { name: classes[row.indexOf(probability)], probability, sure: several ? confident[place] : confident };
  });
  const letters = several && classes.every((name) => name.length === 1); // the answer has spaces between lines
  const doubt = doubts(found, several);
  const lowest = percent(Math.min(...found.map(({ probability }) => probability)));
  const likely = several ? `the least likely ${kind}: ${lowest}` : `${lowest} likely`;
  say(letters ? digit : list(found), doubt ? `Not sure: ${doubt}` : likely, doubt !== "");
  element("digit").className = "";
  fill(rows.length === 1 ? rows[0] : null);
  see(images);
}

const list = (found) => found.map(({ name }) => name).join(", ");

// Why some are not to be trusted: improbable, or else too far from what the network was trained on.
function doubts(found, several) {
  const unsure = found.filter(({ sure }) => !sure);
  const strange = unsure.filter(({ probability }) => probability >= least);
  const unlike = `unlike the ${kind}s that the model knows`;
  const sentences = unsure
    .filter(({ probability }) => probability < least)
    .map(({ name, probability }) => `${several ? `${name} is ` : ""}only ${percent(probability)} likely`);
  for (const { name, probability } of several ? [] : strange) {
    sentences.push(`${unlike}; if it is one, ${name} is ${percent(probability)} likely`);
  }
  if (several && strange.length) sentences.push(`${list(strange)} ${strange.length > 1 ? "are" : "is"} ${unlike}`);
  return sentences.join("; ");
}

export function nothing() {
  fail(`No ${kind} yet`, "", false);
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
