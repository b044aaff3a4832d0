// What the network saw: the 28x28 images of the digits, side by side.

const canvas = document.getElementById("seen");

/** @param {number[][][]} images 28 rows of 28 greys each */
export function see(images) {
  const count = Math.max(1, images.length);
  canvas.width = 28 * count;
  canvas.style.width = `${Math.min(112 * count, 28 * 12)}px`;
  const pen = canvas.getContext("2d");
  images.forEach((rows, number) => {
    const pixels = new ImageData(28, 28);
    rows.flat().forEach((grey, place) => pixels.data.set([grey, grey, grey, 255], 4 * place));
    pen.putImageData(pixels, 28 * number, 0);
  });
}
