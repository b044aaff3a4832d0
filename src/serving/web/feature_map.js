// One feature map: the filter that makes it, and the pixels that drive it.

import { picture, show, signed } from "./pixel_canvas.js";
import { filter, gradient } from "./reader.js";

const element = (id) => document.getElementById(id);
let known = null; // filter of the map that was shown last

/**
 * Show a map's filter, and the gradient of half the sum of its squares with respect to the image.
 * @param {number[][]} image 28 rows of 28 greys
 */
export async function showMap(image, layers, chosen) {
  const { layer, channel } = chosen;
  if (known?.chosen !== chosen) known = { chosen, kernels: await filter(layer, channel) };
  const slope = (await gradient(image, { layer, channel })).flat();
  element("map").hidden = false;
  drawFilter(known.kernels);
  show(element("drives"), slope, signed(Math.max(...slope.map(Math.abs)) || 1));
  const { inputs, height, width } = known.kernels;
  const of = inputs === 1 ? "the image" : `each of the ${inputs} maps before`;
  element("filter-words").textContent =
    `Layer ${layer + 1}, map ${channel + 1}: its filter, ${height} by ${width} for ${of}; blue adds, orange subtracts.`;
  const active = layers[layer].values
    .subarray(channel * layers[layer].height * layers[layer].width)
    .subarray(0, layers[layer].height * layers[layer].width)
    .some((value) => value > 0);
  element("drives-words").textContent = active
    ? "What drives it: more light at blue pixels makes the map stronger, at orange ones weaker (by backpropagation)."
    : "Nothing in this image drives it: the map is dark.";
}

function drawFilter({ inputs, height, width, values }) {
  const canvas = element("filter");
  const columns = Math.ceil(Math.sqrt(inputs));
  canvas.width = columns * (width + 1) - 1;
  canvas.height = Math.ceil(inputs / columns) * (height + 1) - 1;
  const pen = canvas.getContext("2d");
  const colour = signed(Math.max(...values.map(Math.abs)) || 1);
  for (let input = 0; input < inputs; input += 1) {
    const own = values.slice(input * height * width, (input + 1) * height * width);
    const [x, y] = [(input % columns) * (width + 1), Math.floor(input / columns) * (height + 1)];
    pen.putImageData(picture(width, height, own, colour), x, y);
  }
}
