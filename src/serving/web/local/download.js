// Loads the large files: the runtime, compressed, and the networks.

import { downloads } from "./constants.js";
import { XzReadableStream } from "../ort/xz.js";
import { sum } from "./numbers.js";

/**
 * Load all files.
 * @param {(done: number) => void} progress called with the share of bytes that have come, 0..1
 * @returns {Promise<ArrayBuffer[]>} in the order of `downloads`, decompressed
 */
export async function download(progress) {
  let come = 0;
  const count = (chunk) => progress((come += chunk.length) / sum(Object.values(downloads)));
  return Promise.all(Object.keys(downloads).map((file) => bytesOf(file, count)));
}

async function bytesOf(file, count) {
  const response = await fetch(new URL(`../${file}`, import.meta.url));
  if (!response.ok) throw new Error(`${file}: status ${response.status}`);
  const counted = new TransformStream({
    transform(chunk, stream) {
      count(chunk);
      stream.enqueue(chunk);
    },
  });
  const stream = response.body.pipeThrough(counted);
  return new Response(file.endsWith(".xz") ? new XzReadableStream(stream) : stream).arrayBuffer();
}
