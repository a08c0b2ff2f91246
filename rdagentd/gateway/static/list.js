// The list of workers. Only the rows that can be seen exist, so a thousand cost what forty do.

import { COLUMNS } from "./columns.js";
import { h } from "./dom.js";
import { order } from "./query.js";

const AROUND = 8; // rows made beyond either edge
const CALM = 150; // milliseconds after which nothing moves any more

export class List {
  #rows = [];
  #wanted = "";
  #views = new Map();
  #frame = 0;
  #calm = 0;
  #height = 32;

  /** element: the scrolling grid. on.open(name); on.sort(column); used(name): its usage. */
  constructor(element, used, on) {
    this.element = element;
    this.active = "";
    this.open = "";
    this.used = used;
    this.on = on;
    this.head = h("div", { class: "row head", role: "row", "aria-rowindex": 1 });
    this.body = h("div", { class: "rows", role: "rowgroup" });
    this.empty = h("div", { class: "empty", hidden: true });
    element.append(h("div", { role: "rowgroup", class: "heads" }, this.head), this.body, this.empty);
    element.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(element);
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) on.open(row.dataset.name);
    });
  }

  /** Shows these rows. all: of all workers, which decide on the columns. */
  show(rows, all, sort) {
    this.#rows = rows;
    this.#columns(all);
    const [by, down] = order(sort);
    for (const head of this.head.children) {
      const sorted = head.dataset.key === by;
      if (sorted) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.element.setAttribute("aria-rowcount", rows.length + 1);
    this.draw();
  }

  /** Says in the middle why there is nothing to see; nothing if "". */
  say(text) {
    this.empty.hidden = !text;
    this.empty.textContent = text;
  }

  /** Makes a row the one that keys are about, and visible. */
  choose(name) {
    this.active = name;
    const index = this.#rows.findIndex((row) => row.name === name);
    if (index >= 0) {
      const top = index * this.#height;
      const room = this.element.clientHeight - this.head.offsetHeight;
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      else if (top + this.#height > this.element.scrollTop + room) this.element.scrollTop = top + this.#height - room;
    }
    this.draw();
  }

  /** Moves on by so many rows; returns the name of the row that is active then. */
  move(by) {
    if (!this.#rows.length) return "";
    const at = this.#rows.findIndex((row) => row.name === this.active);
    const next = at < 0 ? (by > 0 ? 0 : this.#rows.length - 1) : at + by;
    this.choose(this.#rows[Math.max(0, Math.min(this.#rows.length - 1, next))].name);
    return this.active;
  }

  /** Rows that fit, less one: what a page up or down moves by. */
  get page() {
    return Math.max(1, Math.floor(this.element.clientHeight / this.#height) - 2);
  }

  /** Draws in the next frame. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #measure() {
    this.#height = Number.parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 32;
    for (const view of this.#views.values()) view.index = -1;
    this.draw();
  }

  #columns(all) {
    const columns = COLUMNS.filter((column) => !column.wanted || column.wanted(all));
    const wanted = columns.map((column) => column.key).join(" ");
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.columns = columns;
    this.head.replaceChildren(...columns.map((column) => this.#heading(column)));
    this.element.setAttribute("aria-colcount", columns.length);
    for (const view of this.#views.values()) view.element.remove();
    this.#views.clear();
  }

  #heading({ key, title, unsorted }) {
    const sort = () => this.on.sort(key);
    const content = unsorted ? title : h("button", { type: "button", onclick: sort }, title);
    return h("div", { class: `cell ${key}`, role: "columnheader", "data-key": key }, content);
  }

  #draw() {
    const height = this.#height;
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / height) - AROUND);
    const last = Math.min(this.#rows.length, Math.ceil((scrollTop + clientHeight) / height) + AROUND);
    const seen = this.#rows.slice(first, last);
    const free = this.#free(new Set(seen.map((row) => row.name)));
    this.body.style.height = `${this.#rows.length * height}px`;
    seen.forEach((row, i) => {
      const view = this.#views.get(row.name) ?? free.pop() ?? this.#make();
      this.#views.set(row.name, view);
      this.#fill(view, row, first + i);
    });
    for (const view of free) view.element.remove();
    clearTimeout(this.#calm);
    this.#calm = setTimeout(() => this.#arrange(), CALM);
    if (this.active && this.#views.has(this.active)) this.element.setAttribute("aria-activedescendant", `row-${this.active}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** Brings the elements into the order that is seen, for those to whom it is read. To move an element is dear: not while one scrolls. */
  #arrange() {
    let cursor = this.body.firstChild;
    for (const view of [...this.#views.values()].sort((a, b) => a.index - b.index)) {
      if (view.element === cursor) cursor = cursor.nextSibling;
      else this.body.insertBefore(view.element, cursor);
    }
  }

  /** Views of rows that are not seen any more. */
  #free(names) {
    const free = [];
    for (const [name, view] of this.#views) {
      if (names.has(name)) continue;
      this.#views.delete(name);
      free.push(view);
    }
    return free;
  }

  #make() {
    const cells = this.columns.map((column) => column.cell());
    const element = h("div", { class: "row", role: "row" }, ...cells.map((cell) => cell.element));
    this.body.append(element);
    return { element, cells, index: -1 };
  }

  #fill(view, row, index) {
    const { element } = view;
    if (view.index !== index) {
      view.index = index;
      element.style.transform = `translateY(${index * this.#height}px)`;
      element.setAttribute("aria-rowindex", index + 2);
    }
    if (element.dataset.name !== row.name) {
      element.dataset.name = row.name;
      element.id = `row-${row.name}`;
    }
    element.dataset.state = row.state;
    element.classList.toggle("active", row.name === this.active);
    element.setAttribute("aria-selected", row.name === this.open);
    const used = this.used(row.name);
    for (const cell of view.cells) cell.show(row, used);
  }
}
