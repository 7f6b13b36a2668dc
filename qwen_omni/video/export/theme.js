try {
  const kept = localStorage.getItem("qwen-omni-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch { /* storage may be blocked: the theme is then the system's */ }
