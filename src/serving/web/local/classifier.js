// The reader: a picture becomes digits, with calibrated probabilities; see src/classifier.py.

import * as ort from "../ort/ort.wasm.min.mjs";
import { prepare } from "./candidates.js";
import { constants, model } from "./constants.js";
import { download } from "./download.js";
import { Explainer } from "./explain.js";
import { combine } from "./fusion.js";
import { argmax, mean } from "./numbers.js";
import { SIDE } from "./preprocess.js";
import { text } from "./reading.js";
import { Spotter } from "./spotter.js";

const { CHUNK } = constants.classifier;
const { SURE } = constants.fusion;

/**
 * @typedef {object} Prediction a digit, as the REST service gives it
 * @property {number} digit the most probable class, from 0
 * @property {string} label the name of that class
 * @property {number} probability of that class
 * @property {number[]} probabilities calibrated, [classes]
 * @property {boolean} confident whether there is no doubt
 * @property {string?} doubt why it cannot be trusted: "improbable" or "out of distribution"
 * @property {number[]} box left, top, width and height, in pixels of the picture
 * @property {number} line index of the line of text, from 0
 * @property {number[][]} image the network's input, 28 rows of 28 greys
 */

/** A trained network that reads pictures. */
export class Classifier {
  constructor(session, spotter, bytes) {
    this.session = session;
    this.spotter = spotter;
    this.explainer = new Explainer(bytes, this);
  }

  /** Load the networks of the page. @param {(done: number) => void} progress called with the share that has come, 0..1 */
  static async load(progress) {
    const [wasm, classifier, spotter] = await download(progress);
    ort.env.wasm.numThreads = 1; // more need headers that static hosts do not send
    ort.env.wasm.wasmPaths = new URL("../ort/", import.meta.url).href;
    ort.env.wasm.wasmBinary = wasm;
    const session = (bytes) => ort.InferenceSession.create(new Uint8Array(bytes));
    return new Classifier(await session(classifier), spotter ? new Spotter(await session(spotter)) : null, classifier);
  }

  /**
   * Read the digit of a picture, or every digit in reading order.
   * @param {import("./image_io.js").Picture} picture
   * @param {(done: number) => Promise} progress called now and then with the share that is done, 0..1
   * @returns {Promise<{text: string, digits: Prediction[]}>}
   */
  async read(picture, several, progress) {
    const candidates = await prepare(picture, several, this.spotter, progress);
    const outputs = await this.infer(candidates.flatMap(({ images }) => images));
    const digits = candidates.map((candidate) =>
      this.prediction(candidate, outputs.splice(0, candidate.images.length)),
    );
    return { text: text(digits), digits };
  }

  /** Average the outputs of a candidate's test-time augmentations. @returns {Prediction} */
  prediction({ images, box, line, scores, unspotted }, outputs) {
    const own = model.classes.map((_, digit) => mean(outputs.map(({ probabilities }) => probabilities[digit])));
    const probabilities = scores ? combine(scores, own, model.weight) : own;
    const digit = argmax(probabilities);
    const oodScore = mean(outputs.map(({ oodScore }) => oodScore));
    const threshold = scores ? SURE : model.probability_threshold;
    const unlike = unspotted || oodScore > model.ood_threshold;
    const doubt = probabilities[digit] < threshold ? "improbable" : unlike ? "out of distribution" : null;
    return {
      digit,
      label: model.classes[digit],
      probability: probabilities[digit],
      probabilities,
      confident: doubt === null,
      doubt,
      box,
      line,
      image: Array.from({ length: SIDE }, (_, y) => [...images[0].data.subarray(y * SIDE, (y + 1) * SIDE)]),
    };
  }

  /** Classify 28x28 images. @returns {Promise<{probabilities: Float32Array, oodScore: number}[]>} */
  async infer(images) {
    const outputs = [];
    for (let start = 0; start < images.length; start += CHUNK) {
      const batch = images.slice(start, start + CHUNK);
      const values = Uint8Array.from(batch.flatMap(({ data }) => [...data]));
      const pixels = new ort.Tensor("uint8", values, [batch.length, SIDE, SIDE]);
      const { probabilities, ood_score } = await this.session.run({ pixels });
      const classes = model.classes.length;
      batch.forEach((_, row) => {
        const own = probabilities.data.slice(row * classes, (row + 1) * classes);
        outputs.push({ probabilities: own, oodScore: ood_score.data[row] });
      });
    }
    return outputs;
  }
}
