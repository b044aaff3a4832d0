// Small images on canvases.

const SIDE = 28;

export const grey = (value) => [value, value, value, 255];

/** Blue where a value is above 0, orange where it is below, white at 0. @param {number} most value of the full colour */
export const signed = (most) => (value) => {
  const share = Math.min(Math.abs(value) / most, 1);
  const full = value > 0 ? [11, 98, 168] : [200, 80, 0];
  return [...full.map((part) => 255 + share * (part - 255)), 255];
};

/** Make an image of values. @param {(value: number) => number[]} colour red, green, blue, alpha of a value */
function picture(width, height, values, colour) {
  const pixels = new ImageData(width, height);
  values.forEach((value, place) => pixels.data.set(colour(value), 4 * place));
  return pixels;
}

/**
 * Put images side by side on a canvas that fits them, a pixel between them.
 * @param {ArrayLike<number>} values of all images, one after the other
 * @param {(pen: CanvasRenderingContext2D, tile: number, x: number, y: number) => void} [then] called after each image
 */
export function tile(canvas, values, { count, columns, width, height }, colour, then = () => null) {
  canvas.width = columns * (width + 1) - 1;
  canvas.height = Math.ceil(count / columns) * (height + 1) - 1;
  const pen = canvas.getContext("2d");
  for (let number = 0; number < count; number += 1) {
    const own = values.slice(number * height * width, (number + 1) * height * width);
    const [x, y] = [(number % columns) * (width + 1), Math.floor(number / columns) * (height + 1)];
    pen.putImageData(picture(width, height, own, colour), x, y);
    then(pen, number, x, y);
  }
}

/** Put a 28x28 image on a canvas; return its pen. */
export function show(canvas, values, colour = grey) {
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.putImageData(picture(SIDE, SIDE, values, colour), 0, 0);
  return pen;
}

/** Make a canvas with a 28x28 image. */
export function thumbnail(values) {
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  show(canvas, values);
  return canvas;
}
