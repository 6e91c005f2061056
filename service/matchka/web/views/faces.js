/** Several faces of one picture: each with its number in the picture, and with who it is. */

import { element } from "../elements.js";

const BOX = "#f5b83d";

/** The picture with a numbered box around each face. */
export async function numberedPicture(sample, faces) {
  const picture = await createImageBitmap(sample);
  const canvas = element("canvas", { width: picture.width, height: picture.height, className: "picture" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `The picture, with ${faces.length} ${faces.length === 1 ? "face" : "faces"} numbered`);
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const size = Math.max(12, Math.round(picture.width / 25));
  context.lineWidth = Math.max(2, picture.width / 250);
  context.font = `bold ${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  faces.forEach(({ box: [x0, y0, x1, y1] }, n) => {
    context.strokeStyle = BOX;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.fillStyle = BOX;
    context.fillRect(x0, y0, 1.2 * size, 1.2 * size);
    context.fillStyle = "#000";
    context.fillText(String(n + 1), x0 + 0.3 * size, y0 + 0.1 * size);
  });
  return canvas;
}
