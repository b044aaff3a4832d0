// What spotter and classifier say of a detection becomes calibrated probabilities; see src/fusion.py.

import { constants } from "./constants.js";
import { clip, sum } from "./numbers.js";

const { LEAST, PLATT } = constants.fusion;

/**
 * Combine the spotter's scores and the classifier's probabilities of a detected digit.
 * @returns {number[]} their weighted geometric mean; what the calibrated probability of the detection lacks to 1 is
 *   spread evenly
 */
export function combine(scores, probabilities, weight) {
  const least = (value) => Math.log(Math.max(value, LEAST));
  const logMean = probabilities.map((value, digit) => (1 - weight) * least(scores[digit]) + weight * least(value));
  const shares = logMean.map((value) => Math.exp(value - Math.max(...logMean)));
  const presence = clip(Math.max(...scores), LEAST, 1 - LEAST);
  const logOdds = PLATT[0] * Math.log(presence / (1 - presence)) + PLATT[1];
  const probability = 1 / (1 + Math.exp(-logOdds));
  return shares.map((share) => (probability * share) / sum(shares) + (1 - probability) / shares.length);
}
