// Asks the server what a picture, or the canvas, says.

export async function read({ photo, canvas }, several) {
  const blob = photo ?? (await new Promise((done) => canvas.toBlob(done, "image/png")));
  const response = await fetch(`api/predict?images=true&several=${several}`, {
    method: "POST",
    headers: { "content-type": blob.type || "application/octet-stream" },
    body: blob,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

export async function about() {
  const response = await fetch("api/model");
  return response.ok ? await response.json() : null;
}
