// Inside the network: the 28x28 that it saw with its greys, which pixels speak for the answer and against it, and the
// feature maps of each layer. All follows the pen while the panel is open.

import { explain } from "./reader.js";

const SIDE = 28;
const LEAST = 0.3; // fall of log-odds that has the full colour, where no place has a greater one
const [FOR, AGAINST] = ["11 98 168", "200 80 0"]; // red, green and blue
const COLUMNS = [16, 32]; // feature maps in a row: up to 64 of them, more of them

const element = (id) => document.getElementById(id);
const panel = element("inside");
let newest = null; // digit that is to be explained
let busy = false;

/** Explain a digit, null for none, if the panel is open; of those that come meanwhile only the newest. */
export async function lookInside(digit) {
  newest = digit;
  if (!panel.open || busy) return;
  busy = true;
  for (let asked; asked !== newest;) {
    asked = newest;
    const found = asked && (await explain(asked.image, asked.digit).catch(() => null));
    if (found) draw(asked, found);
  }
  busy = false;
}

panel.addEventListener("toggle", () => lookInside(newest));

function draw({ label, image }, { layers, occlusion }) {
  drawImage(element("image"), image);
  drawHeat(drawImage(element("heat"), image), occlusion);
  element("heat-words").textContent = `Blue pixels speak for ${label}, orange ones against it: found by hiding patches.`;
  const figures = element("layers");
  if (figures.childElementCount !== layers.length)
    figures.replaceChildren(...layers.map(() => element("layer").content.cloneNode(true)));
  layers.forEach((layer, number) => drawLayer(figures.children[number], layer, number));
}

const grey = (value) => [value, value, value, 255];
const hot = (value) => [3 * value, 3 * value - 255, 3 * value - 510, 255]; // black, red, yellow, white

function picture(width, height, values, colour) {
  const pixels = new ImageData(width, height);
  values.forEach((value, place) => pixels.data.set(colour(value), 4 * place));
  return pixels;
}

function drawImage(canvas, image) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.putImageData(picture(SIDE, SIDE, image.flat(), grey), 0, 0);
  return pen;
}

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

// The maps of a layer side by side, a pixel between them.
function drawLayer(figure, { channels, height, width, values }, number) {
  const canvas = figure.querySelector("canvas");
  const columns = COLUMNS[Number(channels > 64)];
  canvas.width = columns * (width + 1) - 1;
  canvas.height = Math.ceil(channels / columns) * (height + 1) - 1;
  const pen = canvas.getContext("2d");
  for (let map = 0; map < channels; map += 1) {
    const own = values.subarray(map * height * width, (map + 1) * height * width);
    const [x, y] = [(map % columns) * (width + 1), Math.floor(map / columns) * (height + 1)];
    pen.putImageData(picture(width, height, own, hot), x, y);
  }
  figure.querySelector("figcaption").textContent = `Layer ${number + 1}: ${channels} maps of ${width} by ${height}`;
}

element("image").addEventListener("pointermove", (event) => {
  const { left, top, width, height } = event.target.getBoundingClientRect();
  const [x, y] = [(event.clientX - left) / width, (event.clientY - top) / height].map((share) => Math.floor(SIDE * share));
  const [value] = event.target.getContext("2d").getImageData(x, y, 1, 1).data;
  element("value").textContent = `row ${y + 1}, column ${x + 1}: grey ${value} of 255`;
});
