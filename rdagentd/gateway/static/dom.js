// Makes elements. Whatever comes from outside becomes text or an attribute, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (`class`, `on…` functions, `aria-…`, `data-…`, `role` as attributes) and children; null is left out. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false) element.setAttribute(key, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element of this id. */
export const $ = (id) => document.getElementById(id);

/** Sets a text if it is another: nothing is laid out again for what stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A sign from the sprite of the document. */
export function icon(name) {
  return svg("svg", { class: `icon ${name}`, "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));
}

/** Lets another sign be shown. */
export function setIcon(element, name) {
  if (element.dataset.name === name) return;
  element.dataset.name = name;
  element.setAttribute("class", `icon ${name}`);
  element.firstChild.setAttribute("href", `#i-${name}`);
}
