// Colours of terminals (ECMA-48, SGR) in a line of a log; every other control sequence is left out.

// CSI …, OSC … (ended by BEL or ST), other escapes, and lone control characters but tab; also if their end is missing.
const SEQUENCE = /\x1b\[([0-?]*)([ -/]*[@-~])?|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** A line as [text, classes] pieces. style: a Set of classes that goes on from line to line. */
export function pieces(line, style) {
  const shown = overwritten(line);
  const found = [];
  let from = 0;
  for (const match of shown.matchAll(SEQUENCE)) {
    if (match.index > from) found.push([shown.slice(from, match.index), [...style].join(" ")]);
    from = match.index + match[0].length;
    if (match[2] === "m") paint(style, match[1]);
  }
  if (from < shown.length) found.push([shown.slice(from), [...style].join(" ")]);
  return found;
}

/** What is left of a line that a progress bar wrote anew by carriage returns. */
function overwritten(line) {
  const whole = line.replace(/\r+$/, "");
  return whole.slice(whole.lastIndexOf("\r") + 1);
}

const FLAGS = { 1: "bold", 2: "faint", 3: "italic", 4: "underline" };
const ENDS = { 22: ["bold", "faint"], 23: ["italic"], 24: ["underline"] };

function paint(style, codes) {
  const numbers = codes.split(/[;:]/).map(Number);
  for (let i = 0; i < numbers.length; i += 1) {
    const code = numbers[i];
    if (code === 0) style.clear();
    else if (FLAGS[code]) style.add(FLAGS[code]);
    else if (ENDS[code]) for (const one of ENDS[code]) style.delete(one);
    else if (code === 38 || code === 48) i = extended(style, numbers, i);
    else if (code === 39) uncolour(style);
    else if (code >= 30 && code <= 37) colour(style, code - 30);
    else if (code >= 90 && code <= 97) colour(style, code - 90);
  }
}

/** 38;5;n and 38;2;r;g;b: of the 256 colours those that a theme can make legible; returns the last index used. */
function extended(style, numbers, i) {
  const [mode, number] = numbers.slice(i + 1);
  if (numbers[i] === 38) {
    uncolour(style);
    if (mode === 5 && number < 16) colour(style, number % 8);
  }
  return i + (mode === 5 ? 2 : mode === 2 ? 4 : 1);
}

function uncolour(style) {
  for (let n = 0; n < 8; n += 1) style.delete(`ansi-${n}`);
}

function colour(style, number) {
  uncolour(style);
  style.add(`ansi-${number}`);
}
