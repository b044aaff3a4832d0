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
  const text = (await response?.text().catch(() => null)) ?? null;
  if (text === null) throw problem("the server does not answer; see whether `mnist-cnn serve` still runs", true);
  const answer = parse(text);
  if (response.ok && answer) return answer;
  throw problem(answer?.message ?? foreign(response.status), response.ok || response.status > 500);
}

const problem = (sentence, passing) => new Error(sentence, { cause: passing ? "passing" : "lasting" });

// What to say where something else than the service answers.
function foreign(status) {
  if (status === 413) return "the picture is too large for a proxy before the server; scale it down";
  return `what answers is not mnist-cnn (status ${status}), maybe a proxy before it; see whether \`mnist-cnn serve\` still runs`;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
