// Small plots: a line over its area, drawn anew with each number.

import { svg } from "./dom.js";
import { KEPT } from "./usage.js";

/** The lines of a series in a box: [line, area] as path data. Gaps stay gaps. top: the value at the upper edge. */
export function paths(series, width, height, top) {
  const step = width / (KEPT - 1);
  let line = "";
  let area = "";
  let start = null;
  let x = 0;
  let last = 0;
  for (const value of series) {
    if (Number.isNaN(value)) {
      if (start !== null) area += `L${last.toFixed(1)} ${height}Z`;
      start = null;
    } else {
      const y = height - 1 - Math.min(1, value / top) * (height - 2);
      const point = `${x.toFixed(1)} ${y.toFixed(1)}`;
      line += start === null ? `M${point}` : `L${point}`;
      area += start === null ? `M${x.toFixed(1)} ${height}L${point}` : `L${point}`;
      start ??= x;
      last = x;
    }
    x += step;
  }
  if (start !== null) area += `L${last.toFixed(1)} ${height}Z`;
  return [line, area];
}

/** The largest number of a series, at least `least`. */
export function peak(series, least) {
  let most = least;
  for (const value of series) if (value > most) most = value;
  return most;
}

/** A plot without axes; `draw(series, top)` shows numbers from 0 to top. */
export class Plot {
  constructor(kind, width, height) {
    this.line = svg("path", { class: "line" });
    this.area = svg("path", { class: "area" });
    this.box = [width, height];
    const viewBox = `0 0 ${width} ${height}`;
    const marks = { class: `plot ${kind}`, viewBox, preserveAspectRatio: "none", "aria-hidden": "true" };
    this.element = svg("svg", marks, this.area, this.line);
  }

  draw(series, top) {
    const [line, area] = series ? paths(series, ...this.box, top) : ["", ""];
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
  }
}
