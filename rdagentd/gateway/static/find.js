// Search in lines: how many have it, and which is the current one. Found places are painted by the browser (CSS highlights).

const PAINTS = typeof Highlight !== "undefined" && CSS.highlights;

export class Find {
  #element;
  #words = "";
  #found = []; // lines, in their order
  #at = -1;
  #all = PAINTS ? new Highlight() : null;
  #current = PAINTS ? new Highlight() : null;

  constructor(element) {
    this.#element = element;
    if (!PAINTS) return;
    this.#current.priority = 1;
    CSS.highlights.set("found", this.#all);
    CSS.highlights.set("current", this.#current);
  }

  /** "3 of 17", or that there is none. */
  get told() {
    if (!this.#words) return "";
    if (!this.#found.length) return "none";
    return this.#at < 0 ? `${this.#found.length} lines` : `${this.#at + 1} of ${this.#found.length}`;
  }

  /** Looks for other words, in all lines. */
  look(words) {
    this.#words = words.toLowerCase();
    this.#at = -1;
    this.again();
  }

  /** Looks in all lines, as they are now. */
  again() {
    const current = this.#found[this.#at];
    this.#found = [];
    this.#all?.clear();
    this.#current?.clear();
    if (this.#words) for (const block of this.#element.children) this.more(block.children);
    this.#at = this.#found.indexOf(current);
  }

  /** Looks in lines that came or grew. */
  more(lines) {
    if (!this.#words) return;
    for (const line of lines) {
      const places = this.#places(line);
      if (!places.length) continue;
      if (this.#found.at(-1) !== line) this.#found.push(line);
      for (const place of places) this.#all?.add(place);
    }
    if (this.#found.length && !this.#found[0].isConnected) this.#found = this.#found.filter((line) => line.isConnected);
  }

  /** Goes to the next (1) or the one before (-1); the first time to the newest. Returns its line. */
  step(by) {
    const many = this.#found.length;
    if (!many) return null;
    this.#at = this.#at < 0 ? many - 1 : (this.#at + by + many) % many;
    const line = this.#found[this.#at];
    this.#current?.clear();
    for (const place of this.#places(line)) this.#current?.add(place);
    line.scrollIntoView({ block: "center" });
    return line;
  }

  #places(line) {
    const text = line.textContent.toLowerCase();
    const places = [];
    for (let at = text.indexOf(this.#words); at >= 0; at = text.indexOf(this.#words, at + this.#words.length)) {
      places.push(range(line, at, at + this.#words.length));
    }
    return places;
  }
}

/** The text of an element from one character to another. */
function range(element, from, to) {
  const made = document.createRange();
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let before = 0;
  let begun = false;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const end = before + node.length;
    if (!begun && from < end) {
      made.setStart(node, from - before);
      begun = true;
    }
    if (begun && to <= end) {
      made.setEnd(node, to - before);
      break;
    }
    before = end;
  }
  return made;
}
