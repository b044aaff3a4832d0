// Arithmetic that Python and NumPy have and JavaScript lacks.

/** Round to the nearest integer, halves to the even one, as Python and OpenCV do. */
export function round(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

export const clip = (value, low, high) => Math.min(Math.max(value, low), high);

export const sum = (values) => values.reduce((total, value) => total + value, 0);

/** @returns {number} the mean; NaN of nothing */
export const mean = (values) => sum(values) / values.length;

/** @returns {number} index of the first largest value */
export const argmax = (values) => values.reduce((best, value, index) => (value > values[best] ? index : best), 0);

export const median = (values) => percentile(values, 50);

/** @returns {number} the percentile, 0..100, interpolated linearly as NumPy does */
export function percentile(values, share) {
  const sorted = Float64Array.from(values).sort();
  const place = ((sorted.length - 1) * share) / 100;
  const below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}
