// The keyboard. Letters mean something only where nobody types.

/** everywhere: what keys do on the whole page; inList: what they do where the list has the focus, or nothing has it. */
export function keys(everywhere, inList) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]") || event.target.matches("input, select, textarea")) return;
    const free = event.target === document.body || event.target.id === "list";
    const move = everywhere[event.key] ?? (free ? inList[event.key] : undefined);
    if (!move) return;
    event.preventDefault();
    move();
  });
}
