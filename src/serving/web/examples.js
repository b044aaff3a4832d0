// Examples that are written on the canvas as a person would write them, stroke by stroke.

import { canvas, write } from "./drawing.js";

const STEP = 1.5; // percent of the canvas between two points
const POINTS = 3; // of a stroke, in each frame of the animation

/** The strokes of an SVG's paths. @returns {import("./strokes.js").Strokes} */
function strokesOf(svg) {
  const scale = canvas.width / svg.viewBox.baseVal.width;
  return [...svg.querySelectorAll("path")].map((path) => {
    const count = Math.ceil(path.getTotalLength() / STEP);
    const points = Array.from({ length: count + 1 }, (_, k) => path.getPointAtLength((k * path.getTotalLength()) / count));
    return points.map(({ x, y }) => [scale * x, scale * y]);
  });
}

/** Write an example when its button is pressed; `prepare` is told first whether it has several digits. */
export function offerExamples(prepare) {
  for (const button of document.querySelectorAll("#examples button")) {
    button.addEventListener("click", () => {
      prepare("several" in button.dataset);
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      write(strokesOf(button.querySelector("svg")), still ? Infinity : POINTS);
    });
  }
}
