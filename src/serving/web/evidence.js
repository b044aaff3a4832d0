// The evidence for each class: what the last features add to its logit and take from it.

import { layer as taughtLayer } from "./hand.js";
import { logits } from "./last_layer.js";
import { featuresOf, shippedLayer } from "./network.js";

const TOLD = 4; // features that are named
const element = (id) => document.getElementById(id);
let pointed = null; // class whose evidence is told; null for the answer's

/** Show the evidence of an image, 28 rows of 28 greys; `maps` is the last layer of feature maps. */
export async function showEvidence(image, answer, classes, maps) {
  const layer = taughtLayer() ?? (await shippedLayer());
  const { values } = await featuresOf([image.flat()]);
  const parts = classes.map((_, digit) => values.map((value, at) => value * layer.weights[digit * layer.size + at]));
  const sums = parts.map((own) => [own.filter((part) => part > 0), own.filter((part) => part < 0)].map(total));
  const most = Math.max(...sums.flat().map(Math.abs), 1);
  const totals = logits(layer, values);
  const rows = element("evidence");
  if (rows.childElementCount !== classes.length) rows.replaceChildren(...classes.map(row));
  classes.forEach((name, digit) => {
    const [button, bar, output] = rows.children[digit].children;
    const [plus, minus] = sums[digit];
    bar.style.setProperty("--plus", `${(50 * plus) / most}%`);
    bar.style.setProperty("--minus", `${(-50 * minus) / most}%`);
    output.textContent = totals[digit].toFixed(1);
    button.onclick = () => {
      pointed = digit;
      tell(classes, digit, parts[digit], maps);
    };
  });
  tell(classes, pointed ?? answer, parts[pointed ?? answer], maps);
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

function row(name) {
  const line = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
  button.ariaLabel = `What speaks for ${name}`;
  const balance = Object.assign(document.createElement("span"), { className: "balance" });
  line.append(button, balance, document.createElement("output"));
  return line;
}

function tell(classes, digit, parts, { channels, height, width }) {
  [...element("evidence").children].forEach((line, place) => line.classList.toggle("best", place === digit));
  const order = [...parts.keys()].sort((one, other) => Math.abs(parts[other]) - Math.abs(parts[one])).slice(0, TOLD);
  const area = height * width;
  const place = (at) =>
    channels * area === parts.length
      ? `map ${Math.floor(at / area) + 1} at row ${Math.floor((at % area) / width) + 1}, column ${(at % width) + 1}`
      : `feature ${at + 1}`;
  const named = order.map((at) => `${place(at)} ${parts[at] > 0 ? "+" : "−"}${Math.abs(parts[at]).toFixed(2)}`);
  element("evidence-words").textContent = `What counts most for ${classes[digit]}: ${named.join("; ")}.`;
}
