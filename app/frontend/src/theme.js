// Light, dark, or as the system has it. The choice is a cookie, so that the server's first byte has the right theme.
const A_YEAR = 31_536_000;

function choose({ target }) {
  if (target.name !== "theme") return;
  const root = document.documentElement;
  if (target.value === "auto") delete root.dataset.bsTheme;
  else root.dataset.bsTheme = target.value;
  const age = target.value === "auto" ? 0 : A_YEAR;
  document.cookie = `theme=${target.value}; path=/; max-age=${age}; samesite=lax${location.protocol === "https:" ? "; secure" : ""}`;
}

/** Hook into the radio buttons called "theme". */
export function startTheme() {
  document.addEventListener("change", choose);
}
