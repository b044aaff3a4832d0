// The hand that is taught: its digits, what was learned of them, and how well the next ones are read. All of it stays in
// this browser's storage.

import { altered } from "./alter.js";
import { best, learn } from "./last_layer.js";
import { hardTest, training } from "./mnist.js";
import { countRight, featuresOf, judge, shippedLayer } from "./network.js";

const KEY = "mnist-cnn hand";
const FORMAT = 1;
const MOST = 20; // digits of a class that are kept
const TURNS = [-20, -10, 0, 10, 20]; // degrees by which each digit is turned before it is learned
const TEST_IMAGES = 10_000; // of MNIST: those that do not ship are read with a large margin

/**
 * @typedef {object} Hand
 * @property {string} model hash of the model that was taught
 * @property {{label: number, image: string}[]} samples images as base64
 * @property {{weights: string, biases: number[], of: number, before: number, after: number} | null} learned of how many
 *   samples, and the share of MNIST's test images that were read right before and are read right after
 * @property {{count: number, before: number, after: number}} next digits labelled since then, and those read right
 * @property {boolean} used whether answers are given by what was learned
 */

const empty = (model) => ({ model, samples: [], learned: null, next: { count: 0, before: 0, after: 0 }, used: true });

let hand = empty("");
let taught = null; // last layer that was learned

export const look = () => hand;
export const layer = () => (hand.used ? taught : null);

/** Load what this browser remembers of a model's teaching. */
export async function remember(model) {
  hand = parse(localStorage.getItem(KEY), model) ?? empty(model);
  taught = await layerOf(hand);
}

/** Add a digit that was drawn; what was learned is tested on it first. @param {number[]} image 784 greys */
export async function keep(image, label) {
  if (taught) {
    const features = await featuresOf([image]);
    const [before, after] = [await shippedLayer(), taught].map((one) => countRight(one, features, [label]));
    const { next } = hand;
    hand.next = { count: next.count + 1, before: next.before + before, after: next.after + after };
  }
  const own = hand.samples.filter((one) => one.label === label);
  const kept = own.length < MOST ? hand.samples : hand.samples.filter((one) => one !== own[0]);
  hand.samples = [...kept, { label, image: pack(Uint8Array.from(image)) }];
  store();
}

/** Learn from all digits that were kept. */
export async function study() {
  const { samples } = hand;
  const [shipped, kept, test] = await Promise.all([shippedLayer(), trainingFeatures(), testFeatures()]);
  const images = samples.map(({ image }) => unpack(image));
  const turned = images.flatMap((image) => TURNS.map((turn) => altered(image, { turn })));
  const labels = samples.flatMap(({ label }) => TURNS.map(() => label));
  taught = await learn(shipped, await featuresOf(turned), labels, kept);
  const [wrongBefore, wrongAfter] = [shipped, taught].map((one) => test.labels.length - countRight(one, test, test.labels));
  hand.learned = {
    weights: pack(new Uint8Array(taught.weights.buffer)),
    biases: [...taught.biases],
    of: samples.length,
    before: 1 - wrongBefore / TEST_IMAGES,
    after: 1 - wrongAfter / TEST_IMAGES,
  };
  hand.next = empty("").next;
  hand.used = true;
  store();
}

export function use(used) {
  hand.used = used;
  store();
}

export function forget() {
  hand = empty(hand.model);
  taught = null;
  localStorage.removeItem(KEY);
}

/** Take the last digit back. */
export function takeBack() {
  hand.samples = hand.samples.slice(0, -1);
  store();
}

/** The hand as a file. */
export const file = () => new Blob([JSON.stringify({ format: FORMAT, ...hand })], { type: "application/json" });

/** Take a hand from a file. @returns {Promise<boolean>} whether it is one of this model */
export async function load(blob) {
  const found = parse(await blob.text(), hand.model);
  if (!found) return false;
  hand = found;
  taught = await layerOf(hand);
  store();
  return true;
}

/** Give an answer's digits the probabilities that the taught network has for them. */
export async function retell(answer, info) {
  const own = layer();
  if (!own || !answer?.digits.length) return answer;
  const found = judge(own, await featuresOf(answer.digits.map(({ image }) => image.flat())));
  const digits = answer.digits.map((digit, number) => {
    const probabilities = found[number];
    const place = best(probabilities);
    const probability = probabilities[place];
    const unsure = probability < info.probability_threshold;
    const doubt = unsure ? "improbable" : digit.doubt === "improbable" ? null : digit.doubt;
    return { ...digit, digit: place, label: info.classes[place], probability, probabilities, doubt, confident: !doubt };
  });
  const labels = digits.map(({ label }) => label);
  return { ...answer, digits, text: [...answer.text].map((one) => (/\s/.test(one) ? one : labels.shift())).join("") };
}

const once = (make) => {
  let made = null;
  return () => (made ??= make().catch((error) => ((made = null), Promise.reject(error))));
};
const trainingFeatures = once(async () => featuresOf((await training()).images));
const testFeatures = once(async () => {
  const { images, labels } = await hardTest();
  return { ...(await featuresOf(images)), labels };
});

function store() {
  localStorage.setItem(KEY, JSON.stringify({ format: FORMAT, ...hand }));
}

function parse(text, model) {
  try {
    const { format, ...found } = JSON.parse(text);
    const whole = found.samples.every(({ label, image }) => label >= 0 && unpack(image).length === 784);
    return format === FORMAT && whole && found.model === model ? found : null;
  } catch {
    return null;
  }
}

async function layerOf({ learned }) {
  if (!learned) return null;
  const { size } = await shippedLayer();
  return { size, weights: new Float32Array(unpack(learned.weights).buffer), biases: Float32Array.from(learned.biases) };
}

function pack(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

export const unpack = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
