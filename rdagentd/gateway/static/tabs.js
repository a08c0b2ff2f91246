// Tabs as in the ARIA Authoring Practices: arrow keys move between them.

import { h } from "./dom.js";

export class Tabs {
  #names;
  #on;

  /** titles: by name; views: by name, elements or things that have one; on(name): another is wished for. */
  constructor(titles, views, on) {
    this.#names = Object.keys(titles);
    this.#on = on;
    this.tabs = this.#names.map((name) => this.#tab(name, titles[name]));
    this.views = this.#names.map((name) => this.#view(name, views[name].element ?? views[name]));
    this.list = h("div", { class: "tabs", role: "tablist", "aria-label": "Views of the worker", onkeydown: (event) => this.#key(event) }, ...this.tabs);
    this.element = h("div", { class: "tabbed" }, this.list, ...this.views);
  }

  show(name) {
    this.#names.forEach((one, i) => {
      const here = one === name;
      this.tabs[i].setAttribute("aria-selected", here);
      this.tabs[i].tabIndex = here ? 0 : -1;
      this.views[i].hidden = !here;
    });
  }

  #tab(name, title) {
    const press = () => this.#on(name);
    return h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `view-${name}`, onclick: press }, title);
  }

  #view(name, content) {
    return h("div", { class: "view", role: "tabpanel", id: `view-${name}`, "aria-labelledby": `tab-${name}` }, content);
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = this.tabs.indexOf(document.activeElement);
    const next = (at + step + this.tabs.length) % this.tabs.length;
    this.#on(this.#names[next]);
    this.tabs[next].focus();
  }
}
