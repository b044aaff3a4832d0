// How a 28x28 image is altered.

const SIDE = 28;
const MIDDLE = (SIDE - 1) / 2;

/**
 * Turn and move an image, and change its greys.
 * @param {ArrayLike<number>} image 784 greys
 * @param {{turn: number, right?: number, down?: number, noise?: number, contrast?: number}} how degrees clockwise,
 *   pixels, pixels, standard deviation in greys, factor
 * @returns {Uint8Array}
 */
export function altered(image, { turn, right = 0, down = 0, noise = 0, contrast = 1 }) {
  const [cos, sin] = [Math.cos, Math.sin].map((part) => part((turn * Math.PI) / 180));
  const grey = (x, y) => (x < 0 || y < 0 || x >= SIDE || y >= SIDE ? 0 : image[y * SIDE + x]);
  return Uint8Array.from({ length: SIDE * SIDE }, (_, place) => {
    const [dx, dy] = [(place % SIDE) - MIDDLE - right, Math.floor(place / SIDE) - MIDDLE - down];
    const [x, y] = [MIDDLE + cos * dx + sin * dy, MIDDLE - sin * dx + cos * dy];
    const [left, top] = [Math.floor(x), Math.floor(y)];
    const upper = grey(left, top) * (left + 1 - x) + grey(left + 1, top) * (x - left);
    const lower = grey(left, top + 1) * (left + 1 - x) + grey(left + 1, top + 1) * (x - left);
    return clip(contrast * (upper * (top + 1 - y) + lower * (y - top)) + noise * NOISE[place]);
  });
}

export const clip = (value) => Math.min(Math.max(Math.round(value), 0), 255);

/** Draw over an image: a soft pen at a point. */
export function inked(image, x, y) {
  return Uint8Array.from(image, (grey, place) => {
    const distance = Math.hypot((place % SIDE) + 0.5 - x, Math.floor(place / SIDE) + 0.5 - y);
    return Math.max(grey, clip(255 * (1.9 - distance)));
  });
}

/** The same noise each time, so that a slider makes it grow: normally distributed, from a linear congruential generator. */
const NOISE = (() => {
  let state = 1;
  const uniform = () => (state = (1664525 * state + 1013904223) % 2 ** 32) / 2 ** 32;
  return Float64Array.from({ length: SIDE * SIDE }, () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
})();
