// Asks the server what a picture, or the canvas, says.
// What goes wrong is an Error for people; its cause "passing" means that the same question may be answered later.

const PATIENCE = 30_000; // milliseconds; the server itself gives up on a body after 10,000

export async function read({ photo, canvas }, several) {
  const body = photo ?? (await new Promise((done) => canvas.toBlob(done, "image/png")));
  const headers = { "content-type": body.type || "application/octet-stream" };
  return ask(`api/predict?images=true&several=${several}`, { method: "POST", headers, body });
}

export const about = () => ask("api/model", {});

async function ask(path, request) {
  const response = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE) }).catch(() => null);
  const text = await response?.text().catch(() => null);
  if (text === undefined || text === null) {
    const what = "the server does not answer: is `mnist-cnn serve` still running? This page asks again by itself";
    throw new Error(what, { cause: "passing" });
  }
  const answer = parse(text);
  if (response.ok && answer) return answer;
  const passing = response.ok || response.status > 500;
  const sentence = answer?.message ?? foreign(response.status);
  throw new Error(passing ? `${sentence}. This page asks again by itself` : sentence, { cause: passing ? "passing" : "lasting" });
}

// What to say where something else than the service answers, such as a proxy before it.
function foreign(status) {
  if (status === 413) return "the picture is too large for a proxy before the server; scale it down";
  return `no answer from mnist-cnn but status ${status}, maybe a proxy's: is \`mnist-cnn serve\` still running?`;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
