// Sets the theme before anything is painted; so it is no module. What was chosen by the switch is kept in this browser.
"use strict";
{
  const KEY = "rdagentd.theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // a browser that keeps nothing follows the system
  }
  const apply = () => {
    root.dataset.theme = chosen ?? (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", apply);
  globalThis.switchTheme = () => {
    const other = root.dataset.theme === "dark" ? "light" : "dark";
    chosen = other === (system.matches ? "dark" : "light") ? null : other; // the system's own is no choice to keep
    try {
      if (chosen === null) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, chosen);
    } catch {
      // as above
    }
    apply();
  };
}
