/** The camera: a live picture, frames as JPEG, and what the service sees in them. */

import { openDevice } from "./microphone.js";

const LONGEST_SIDE_PX = 1280; // of a picture that is sent: more shows no face better
const LOOK_SIDE_PX = 640; // of one that is only looked at
const JPEG_QUALITY = 0.92;
const LEAST_PAUSE_MS = 400;
const LEAST_EYES_PX = 40; // in the picture that is looked at
const MOST_YAW = 0.35;
const LEAST_CONTRAST = 25;

/** A live picture in `stage`, an element that holds a video and a canvas. Make one by `Camera.start()`. */
export class Camera {
  #stream;
  #video;
  #canvas;
  #isLooking = false;

  static async start(stage) {
    const camera = new Camera();
    camera.#stream = await openDevice({ video: { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user" } }, "camera");
    try {
      await camera.#show(stage);
    } catch (error) {
      camera.release();
      throw error;
    }
    return camera;
  }

  async #show(stage) {
    this.#video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, srcObject: this.#stream });
    this.#video.setAttribute("aria-label", "Live picture of the camera");
    this.#canvas = document.createElement("canvas");
    this.#canvas.setAttribute("aria-hidden", "true");
    stage.replaceChildren(this.#video, this.#canvas);
    await this.#video.play();
  }

  /** The frame of this moment. @returns {Promise<Blob>} a JPEG */
  frame(longestSidePx = LONGEST_SIDE_PX) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.min(1, longestSidePx / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  }

  /**
   * Have frames looked at until the camera is released, or `look` says that it may not.
   * @param {(frame: Blob) => Promise<{face: object | null, advice: string} | null>} look null: never again
   * @param {(advice: string) => void} onadvice
   */
  async watch(look, onadvice) {
    this.#isLooking = true;
    while (this.#isLooking) {
      const began = performance.now();
      if (!document.hidden) {
        const seen = await look(await this.frame(LOOK_SIDE_PX));
        if (!this.#isLooking || seen === null) return;
        this.#drawBox(seen.face);
        onadvice(seen.advice);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(LEAST_PAUSE_MS, performance.now() - began)));
    }
  }

  #drawBox(face) {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const scale = Math.max(1, Math.max(width, height) / LOOK_SIDE_PX);
    this.#canvas.width = width;
    this.#canvas.height = height;
    if (!face) return;
    const context = this.#canvas.getContext("2d");
    const [x0, y0, x1, y1] = face.box.map((edge) => edge * scale);
    context.lineWidth = Math.max(3, width / 200);
    context.strokeStyle = adviceOn(face) ? "#f5b83d" : "#4ade80";
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
  }

  /** Give the camera back. */
  release() {
    this.#isLooking = false;
    this.#stream?.getTracks().forEach((track) => track.stop());
  }
}

/** What to do better about a face that was found; empty where nothing is. */
export function adviceOn({ quality }) {
  if (quality.eye_distance_px < LEAST_EYES_PX) return "Come closer.";
  if (quality.contrast < LEAST_CONTRAST) return "Too dark or too flat: turn to the light.";
  if (quality.visible < 0.95) return "Move to the middle of the picture.";
  if (Math.abs(quality.yaw) > MOST_YAW) return "Look into the camera.";
  return "";
}

/** A look at one frame by the service, for Camera.watch: where the face is, and what to do better. */
export function lookWith(service, model) {
  return async (frame) => {
    try {
      const answer = await service.post("v1/embed", { model: model.name, dim: model.dims[0], face: "only", file: frame });
      const face = answer.faces?.[0] ?? null;
      return { face, advice: (face && adviceOn(face)) || "Good." };
    } catch (error) {
      if (error.code === "no_face") return { face: null, advice: "No face is seen." };
      if (error.code === "several_faces") return { face: null, advice: "Several faces are seen: be alone in the picture." };
      if (error.status === 503 || error.status === 429 || error.code === "lost") return { face: null, advice: "" };
      return error.status === 403 ? null : { face: null, advice: error.message };
    }
  };
}
