/** Plots as SVG: in the page's own colours, and with a label for who does not see them. */

import { drawn } from "../elements.js";

const WIDTH = 480;
const HEIGHT = 240;
const LEFT = 44;
const BELOW = 24;
const TOP = 12;
const MOST_DOTS = 2000;

/**
 * A curve over an axis.
 * @param {object} plot
 * @param {string} plot.label what it shows
 * @param {Array<[number, number]>} plot.points x in [0, 1], y in the unit of `marks`
 * @param {Array<[number, string]>} plot.marksX places in [0, 1] and their names
 * @param {number[]} plot.marksY rising; the first and the last are the plot's edges
 * @param {string} plot.unitY
 */
export function curvePlot({ label, points, marksX, marksY, unitY }) {
  const [low, high] = [marksY[0], marksY.at(-1)];
  const x = (share) => LEFT + share * (WIDTH - LEFT - 8);
  const y = (value) => TOP + ((high - Math.max(low, Math.min(high, value))) / (high - low)) * (HEIGHT - TOP - BELOW);
  return drawn(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": label },
    ...marksY.flatMap((value) => [
      drawn("path", { d: `M${LEFT} ${y(value)}H${WIDTH - 8}`, class: "grid" }),
      drawn("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, `${value} ${unitY}`),
    ]),
    ...marksX.flatMap(([share, name]) => [
      drawn("path", { d: `M${x(share)} ${TOP}V${HEIGHT - BELOW}`, class: "grid" }),
      drawn("text", { x: x(share), y: HEIGHT - 6, "text-anchor": "middle" }, name),
    ]),
    drawn("polyline", { class: "curve", points: points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }),
  );
}

/** Complex samples as dots, scaled to their own power. */
export function constellationPlot({ i, q }, label) {
  const side = HEIGHT;
  let power = 0;
  for (let n = 0; n < i.length; n += 1) power += i[n] * i[n] + q[n] * q[n];
  const scale = side / 2 / (2.2 * Math.sqrt(power / Math.max(1, i.length)) || 1);
  const step = Math.max(1, Math.floor(i.length / MOST_DOTS));
  const dots = [];
  for (let n = 0; n < i.length; n += step) dots.push(drawn("circle", { class: "dot", r: 1.6, cx: (side / 2 + scale * i[n]).toFixed(1), cy: (side / 2 - scale * q[n]).toFixed(1) }));
  const cross = drawn("path", { class: "grid", d: `M0 ${side / 2}H${side}M${side / 2} 0V${side}` });
  return drawn("svg", { viewBox: `0 0 ${side} ${side}`, class: "plot", role: "img", "aria-label": label }, cross, ...dots);
}
