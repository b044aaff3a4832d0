// Inside the network: the 28x28 that it saw with its greys, which pixels speak for the answer and against it, and the
// feature maps of each layer, one of them explained, the evidence for each class, and the nearest training digits. All
// follows the pen while the panel is open.

import { showEvidence } from "./evidence.js";
import { showMap } from "./feature_map.js";
import { showNearest } from "./nearest.js";
import { show, tile } from "./pixel_canvas.js";
import { explain } from "./reader.js";

const SIDE = 28;
const LEAST = 0.3; // fall of log-odds that has the full colour, where no place has a greater one
const [FOR, AGAINST] = ["11 98 168", "200 80 0"]; // red, green and blue
const FRAME = "#2f9bff"; // around the map that is explained
const COLUMNS = [16, 32]; // feature maps in a row: up to 64 of them, more of them

const element = (id) => document.getElementById(id);
const panel = element("inside");
let newest = null; // digit that is to be explained
let busy = false;
let chosen = null; // feature map that is explained: {layer, channel}
let able = []; // what can be shown of the model
let classes = [];

/** Explain a digit, null for none, if the panel is open; of those that come meanwhile only the newest. */
export async function lookInside(digit) {
  newest = digit;
  if (!panel.open || busy) return;
  busy = true;
  for (let asked; asked !== newest;) {
    asked = newest;
    const found = asked && (await explain(asked.image, asked.digit).catch(() => null));
    if (found) await draw(asked, found).catch(() => null);
  }
  busy = false;
}

/** Be told which model answers. */
export function prepareInside(info) {
  [able, classes, chosen] = [info.explains, info.classes, null];
  element("evidence-part").hidden = !able.includes("features");
  element("nearest").hidden = !able.includes("features") || info.dataset !== "mnist";
}

panel.addEventListener("toggle", () => again());

function again() {
  const digit = newest;
  newest = digit && { ...digit }; // a new object is explained again
  lookInside(newest);
}

async function draw({ label, image, digit }, { layers, occlusion }) {
  show(element("image"), image.flat());
  drawHeat(show(element("heat"), image.flat()), occlusion);
  element("heat-words").textContent = `Blue pixels speak for ${label}, orange ones against it: found by hiding patches.`;
  const figures = element("layers");
  if (figures.childElementCount !== layers.length)
    figures.replaceChildren(...layers.map(figureOf));
  layers.forEach((layer, number) => drawLayer(figures.children[number], layer, number));
  if (chosen && able.includes("gradient")) await showMap(image, layers, chosen);
  if (able.includes("features")) {
    await showEvidence(image, digit, classes, layers.at(-1));
    await showNearest(image);
  }
}

function figureOf(layer, number) {
  const figure = element("layer").content.cloneNode(true);
  const canvas = figure.querySelector("canvas");
  const columns = columnsOf(layer);
  const choose = (channel) => {
    chosen = { layer: number, channel: Math.min(Math.max(channel, 0), layer.channels - 1) };
    again();
  };
  canvas.ariaLabel = `Feature maps of layer ${number + 1}: arrow keys choose one`;
  canvas.addEventListener("click", (event) => {
    const { left, top, width } = canvas.getBoundingClientRect();
    const cell = ((layer.width + 1) * width) / canvas.width;
    const [x, y] = [event.clientX - left, event.clientY - top].map((at) => Math.floor(at / cell));
    choose(y * columns + Math.min(x, columns - 1));
  });
  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    if (!(event.key in steps)) return;
    event.preventDefault();
    choose(chosen?.layer === number ? chosen.channel + steps[event.key] : 0);
  });
  return figure;
}

const columnsOf = ({ channels }) => COLUMNS[Number(channels > 64)];
const hot = (value) => [3 * value, 3 * value - 255, 3 * value - 510, 255]; // black, red, yellow, white

function drawHeat(pen, occlusion) {
  const step = SIDE / occlusion.length;
  const most = Math.max(LEAST, ...occlusion.flat().map(Math.abs));
  occlusion.forEach((row, y) =>
    row.forEach((fall, x) => {
      pen.fillStyle = `rgb(${fall > 0 ? FOR : AGAINST} / ${(0.85 * Math.abs(fall)) / most})`;
      pen.fillRect(x * step, y * step, step, step);
    }),
  );
}

function drawLayer(figure, layer, number) {
  const { channels, height, width, values } = layer;
  const shape = { count: channels, columns: columnsOf(layer), width, height };
  tile(figure.querySelector("canvas"), values, shape, hot, (pen, map, x, y) => {
    if (chosen?.layer !== number || chosen.channel !== map) return;
    pen.strokeStyle = FRAME;
    pen.strokeRect(x - 0.5, y - 0.5, width + 1, height + 1);
  });
  figure.querySelector("figcaption").textContent = `Layer ${number + 1}: ${channels} maps of ${width} by ${height}`;
}

element("image").addEventListener("pointermove", (event) => {
  const { left, top, width, height } = event.target.getBoundingClientRect();
  const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height].map((share) => Math.floor(SIDE * share));
  const [value] = event.target.getContext("2d").getImageData(x, y, 1, 1).data;
  element("value").textContent = `row ${y + 1}, column ${x + 1}: grey ${value} of 255`;
});
