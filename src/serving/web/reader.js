// Sends a photo, or a drawing, to the REST service.
// Errors are for people; the cause "temporary" means that the same request may succeed later.

import { pictureOf } from "./strokes.js";

export const docs = true; // the service has a page that documents it
const MOST = 256; // images whose features are asked for at once
const IMAGE = 28 * 28; // bytes
const TIMEOUT = 30_000; // milliseconds; the server's own for a body is 10,000

export async function read({ photo, strokes }, several) {
  if (photo) return ask(photo, several);
  const { grey, scale, left, top } = pictureOf(strokes, several);
  const answer = await ask(graymap(grey), several);
  const onCanvas = ([x, y, width, height]) => [left + scale * x, top + scale * y, scale * width, scale * height];
  return { ...answer, digits: answer.digits.map((digit) => ({ ...digit, box: onCanvas(digit.box) })) };
}

// A picture's file, portable graymap: no encoder is as fast.
function graymap({ width, height, data }) {
  return new Blob([`P5 ${width} ${height} 255\n`, data], { type: "image/x-portable-graymap" });
}

async function ask(body, several) {
  const headers = { "content-type": body.type || "application/octet-stream" };
  const { results, model } = await send(`${several ? "read" : "predict"}?images=true`, { method: "POST", headers, body });
  return { ...results[0], model };
}

/** Explain why an image, 28 rows of 28 greys, is a digit; see local/explain.js. */
export async function explain(image, digit) {
  const { layers, occlusion } = await send(`explain?digit=${digit}`, pixels(image));
  return { layers: layers.map((layer) => ({ ...layer, values: bytes(layer.values) })), occlusion };
}

/** The last features of images, bytes one after the other. @returns {Promise<import("./network.js").Features>} */
export async function features(images) {
  const parts = [];
  for (let start = 0; start < images.length; start += MOST * IMAGE) {
    const body = images.slice(start, start + MOST * IMAGE);
    const headers = { "content-type": "application/octet-stream" };
    parts.push(await send("features", { method: "POST", headers, body }));
  }
  const values = parts.map((part) => floats(part.values));
  const all = new Float32Array(values.reduce((total, one) => total + one.length, 0));
  values.reduce((at, one) => (all.set(one, at), at + one.length), 0);
  return { count: images.length / IMAGE, size: parts[0].size, values: all };
}

/** The parameters of the last layer. @returns {Promise<import("./last_layer.js").LastLayer>} */
export async function lastLayer() {
  const { size, weights, biases } = await send("last_layer", {});
  return { size, weights: floats(weights), biases: Float32Array.from(biases) };
}

/** The filter of a feature map. */
export const filter = (layer, channel) => send(`filter?layer=${layer}&channel=${channel}`, {});

/** By how much each grey of an image raises one class against another, or a feature map. */
export async function gradient(image, what) {
  return (await send(`gradient?${new URLSearchParams(what)}`, pixels(image))).gradient;
}

const pixels = (image) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ pixels: image }),
});

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const floats = (text) => new Float32Array(bytes(text).buffer);

export const modelInfo = () => send("model", {});

async function send(path, request) {
  const response = await fetch(`api/v1/${path}`, { ...request, signal: AbortSignal.timeout(TIMEOUT) }).catch(() => null);
  const text = (await response?.text().catch(() => null)) ?? null;
  if (text === null) throw problem("the server does not answer; see whether `mnist-cnn serve` still runs", true);
  const answer = parse(text);
  if (response.ok && answer) return answer;
  throw problem(answer?.message ?? foreign(response.status), response.ok || response.status > 500);
}

const problem = (sentence, temporary) => new Error(sentence, { cause: temporary ? "temporary" : "permanent" });

// What to say where something else than the service answers.
function foreign(status) {
  if (status === 413) return "the picture is too large for a proxy before the server; scale it down";
  return `what answers is not mnist-cnn (status ${status}), maybe a proxy before it; see whether \`mnist-cnn serve\` still runs`;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
