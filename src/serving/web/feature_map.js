// One feature map: the filter that makes it, and the pixels that drive it.

import { show, signed, tile } from "./pixel_canvas.js";
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
  const columns = Math.ceil(Math.sqrt(inputs));
  const colour = signed(Math.max(...values.map(Math.abs)) || 1);
  tile(element("filter"), values, { count: inputs, columns, width, height }, colour);
}
