// What is shown of the workers: words, states, group, label, and on a phone the order.

import { h, icon, say } from "./dom.js";
import { ORDER } from "./states.js";
import { labels } from "./workers.js";

const MOST_LABELS = 100;
const SORTS = { state: "Trouble first", name: "Name", cpu: "CPU", memory: "Memory", restarts: "Restarts", time: "Time" };

export class Toolbar {
  #chips = new Map();
  #options = {};

  /** go(change): another filter is wished for; now(): the present one. */
  constructor(element, place) {
    this.place = place;
    this.search = h("input", { type: "search", id: "search", placeholder: "Filter", "aria-label": "Filter workers", "aria-keyshortcuts": "/", spellcheck: "false", autocomplete: "off" });
    this.search.addEventListener("input", () => place.go({ q: this.search.value }));
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "States" });
    for (const state of ORDER) this.#chip(state);
    this.group = this.#select("group", "All groups");
    this.label = this.#select("label", "All labels");
    this.sort = h("select", { class: "sort", "aria-label": "Order", onchange: () => place.go({ sort: this.sort.value }) });
    this.sort.append(...Object.entries(SORTS).map(([value, title]) => h("option", { value }, title)));
    this.total = h("output", { class: "dim total" });
    element.append(this.search, this.chips, this.group, this.label, this.sort, this.total);
  }

  #chip(state) {
    const number = h("span", { class: "number" });
    const press = () => this.#toggle(state);
    const chip = h("button", { type: "button", title: state, class: `chip ${state}`, "aria-pressed": "false", hidden: true, onclick: press }, icon(state), h("span", {}, state), number);
    this.#chips.set(state, { chip, number });
    this.chips.append(chip);
  }

  #toggle(state) {
    const states = new Set(this.place.now.state.split(",").filter(Boolean));
    if (!states.delete(state)) states.add(state);
    this.place.go({ state: [...states].join(",") });
  }

  #select(key, all) {
    return h("select", { class: key, hidden: true, "aria-label": all, "data-all": all, onchange: ({ target }) => this.place.go({ [key]: target.value }) });
  }

  /** Shows how many there are of each; shown: how many rows the filter leaves. */
  show(rows, shown) {
    const { now } = this.place;
    if (this.search.value !== now.q) this.search.value = now.q;
    const pressed = new Set(now.state.split(","));
    const states = counted(rows.map((row) => row.state));
    for (const [state, { chip, number }] of this.#chips) {
      const many = states.get(state) ?? 0;
      chip.hidden = !many && !pressed.has(state);
      chip.setAttribute("aria-pressed", pressed.has(state));
      say(number, String(many));
    }
    this.#offer("group", counted(rows.map((row) => row.group)), 2);
    this.#offer("label", counted(rows.flatMap(labels)), 1);
    this.sort.value = now.sort.replace("-", "") || "state";
    say(this.total, shown === rows.length ? `${rows.length}` : `${shown} of ${rows.length}`);
  }

  /** The choices of a select, where there are at least so many; the most frequent ones if they are very many. */
  #offer(key, found, least) {
    const select = this[key];
    const chosen = this.place.now[key];
    const often = [...found].sort((a, b) => b[1] - a[1]).slice(0, MOST_LABELS);
    const names = often.map(([name]) => name).sort();
    if (chosen && !names.includes(chosen)) names.unshift(chosen);
    select.hidden = names.length < least && !chosen;
    const wanted = names.join("\n");
    if (this.#options[key] !== wanted) {
      this.#options[key] = wanted;
      select.replaceChildren(...["", ...names].map((name) => h("option", { value: name }, name || select.dataset.all)));
    }
    select.value = chosen;
  }
}

function counted(things) {
  const many = new Map();
  for (const thing of things) many.set(thing, (many.get(thing) ?? 0) + 1);
  return many;
}
