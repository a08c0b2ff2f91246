// What was asked for: fields of the spec that have a value, by their dotted names. Values of the environment are never shown.

import { h } from "./dom.js";
import { clock, value } from "./format.js";

/** The spec and its revisions. */
export function spec(told, revisions) {
  const lines = [...fields("", told)].map(([key, text]) => h("div", {}, h("span", { class: "key" }, key), " = ", text));
  const made = revisions.map(({ revision, at, by }) => h("li", {}, `revision ${revision}, ${clock(at)}, by uid ${by}`));
  return h("div", { class: "spec" }, h("pre", { tabindex: 0, "aria-label": "Spec" }, ...lines), h("h3", {}, "Revisions"), h("ul", {}, ...made));
}

function* fields(path, table) {
  for (const [key, thing] of Object.entries(table)) {
    const where = path + key;
    if (where === "environment") {
      for (const name of Object.keys(thing)) yield [`environment.${name}`, "…"];
    } else if (thing !== null && typeof thing === "object" && !Array.isArray(thing) && !where.startsWith("limits.")) {
      yield* fields(`${where}.`, thing);
    } else if (thing !== null && thing !== "" && !(Array.isArray(thing) && !thing.length)) {
      yield [where, value(thing)];
    }
  }
}
