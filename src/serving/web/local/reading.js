// The text of a picture's digits; see src/reading.py.

import { constants } from "./constants.js";
import { median } from "./numbers.js";

const { GAP, NARROWEST } = constants.reading;

/** The text of each line; line breaks between them. @param {import("./classifier.js").Prediction[]} digits */
export function text(digits) {
  const lines = Array.from({ length: (digits.at(-1)?.line ?? -1) + 1 }, (_, number) =>
    digits.filter(({ line }) => line === number),
  );
  return lines.map(lineText).join("\n");
}

/** Join the digits of a line; those more than two digit widths apart belong to different numbers. */
function lineText(digits) {
  const boxes = digits.map(({ box }) => box);
  const width = Math.max(median(boxes.map((box) => box[2])), NARROWEST * median(boxes.map((box) => box[3])));
  const apart = (number) => boxes[number][0] - boxes[number - 1][0] - boxes[number - 1][2] > GAP * width;
  const numbers = [[]];
  digits.forEach(({ label }, number) => {
    if (number && apart(number)) numbers.push([]);
    numbers.at(-1).push(label);
  });
  return numbers.map(joined).join(" ");
}

/** Join labels to text: digits and letters without spaces, longer names with. */
const joined = (labels) => labels.join(labels.every((label) => label.length === 1) ? "" : " ");
