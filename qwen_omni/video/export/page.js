"use strict";
(() => {
  const $ = (id) => document.getElementById(id), all = (what, where = document) => [...where.querySelectorAll(what)];
  const root = document.documentElement, facts = document.body.dataset, player = $("player");
  const kept = {
    read: (name) => { try { return localStorage.getItem("qwen-omni-" + name); } catch { return null; } },
    write: (name, value) => { try { localStorage.setItem("qwen-omni-" + name, value); } catch { /* blocked */ } },
  };
  const clock = (seconds) => {
    const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0"), minutes = Math.floor(whole / 60);
    return (whole >= 3600 ? Math.floor(minutes / 60) + ":" + two(minutes % 60) : minutes) + ":" + two(whole % 60);
  };

  // --- What is on the page: chapters and entries with their times ---
  const timed = (li) => {
    const start = +li.dataset.start, end = +li.dataset.end;
    return { li, link: li.firstElementChild, start, end: end > start ? end : start + 3, kind: li.dataset.kind };
  };
  const chapters = $("chapters") ? [...$("chapters").children].map(timed) : [];
  const groups = all(".group"), entries = all(".group li").map(timed);
  for (const group of groups) group.style.containIntrinsicHeight = "auto " + 48 * group.querySelectorAll("li").length + "px";
  const bars = $("strip") ? all("rect:not(.head)", $("strip")) : [];
  const length = () => (player.duration > 0 && isFinite(player.duration) ? player.duration : +facts.duration);
  const width = () => +facts.duration || length(); // of the bar of chapters, in seconds

  // --- The theme ---
  const wide = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wide.matches);
  const showTheme = () => $("theme").setAttribute("aria-pressed", dark());
  $("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    kept.write("theme", root.dataset.theme);
    showTheme();
  });
  wide.addEventListener("change", showTheme);
  showTheme();

  // --- Where the player is ---
  let asked = 0, chapter = null, entry = null, marked = new Set();
  const playable = () => !player.hidden && !player.error;
  const now = () => (playable() && player.readyState > 0 ? player.currentTime : asked);
  const inSight = (element) => {
    const box = element.getBoundingClientRect();
    return box.height > 0 && box.bottom > 0 && box.top < innerHeight;
  };
  const show = (element, block = "nearest") => {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block, behavior: calm ? "auto" : "smooth" });
  };
  const showChapter = (found) => {
    if (found === chapter) return;
    const index = chapters.indexOf(found);
    if (bars.length) bars.forEach((bar, n) => bar.classList.toggle("current", n === index));
    chapter = found;
    $("now-count").textContent = found ? `Chapter ${index + 1} of ${chapters.length}` : `${chapters.length} chapters`;
    $("now-chapter").textContent = found ? found.li.querySelector("b").textContent : "";
    $("previous").disabled = false;
  };
  const showEntry = (found, moved) => { // between two entries the last one stays
    if (!found || found === entry) return;
    const follows = !moved && entry && !player.paused && inSight(entry.li);
    entry = found;
    $("to-now").hidden = false;
    if (follows && !found.li.classList.contains("out")) show(found.li, inSight(found.li) ? "nearest" : "center");
  };
  const mark = (moved = false) => {
    const time = now(), within = (one) => time >= one.start && time < one.end;
    const current = new Set([...chapters, ...entries].filter(within));
    for (const one of marked) if (!current.has(one)) one.link.removeAttribute("aria-current");
    for (const one of current) if (!marked.has(one)) one.link.setAttribute("aria-current", "true");
    marked = current;
    if (chapters.length) showChapter(chapters.findLast(within) || null);
    const here = entries.filter(within);
    showEntry(here.at(-1) || null, moved);
    const line = here.findLast((one) => one.kind === (facts.kind === "audio" ? "speech" : "event")) || here.at(-1);
    if (line) $("now-entry").hidden = false;
    $("now-entry").textContent = line ? line.li.querySelector(".text").textContent : "";
    if ($("head")) $("head").setAttribute("x", width() ? (time / width()) * 1000 - 2 : -9);
  };
  const play = () => { const begun = player.play(); if (begun) begun.catch(() => {}); };
  const seek = (time, { plays = true, link = true } = {}) => {
    asked = Math.max(0, Math.min(time, length() || time));
    if (playable()) { player.currentTime = asked; if (plays) play(); }
    if (link) history.replaceState(null, "", "#t=" + Math.round(asked * 1000) / 1000);
    mark(true);
  };
  const step = (way) => {
    const time = now();
    const found = way > 0 ? chapters.find((one) => one.start > time + 0.25) : chapters.findLast((one) => one.start < time - 2);
    if (found) { seek(found.start); show(found.li); } else if (way < 0) seek(0);
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-seek]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    seek(+link.dataset.seek);
  });
  if (chapters.length) {
    $("previous").addEventListener("click", () => step(-1));
    $("next").addEventListener("click", () => step(1));
  }
  if ($("strip")) $("strip").addEventListener("click", (event) => {
    const box = $("strip").getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * width());
  });
  const toNow = () => { if (entry) { show(entry.li, "center"); entry.link.focus({ preventScroll: true }); } };
  $("to-now").addEventListener("click", toNow);
  for (const kind of ["timeupdate", "seeked", "loadedmetadata"]) player.addEventListener(kind, () => mark(kind === "seeked"));
  // What is said is shown; what happens is a choice, as it stands below the player, too.
  for (const track of player.textTracks) track.mode = track.label === "Speech" ? "showing" : "disabled";

  // --- A video that is missing, or that the browser cannot decode ---
  const trouble = (what, why) => {
    $("what").textContent = what;
    $("why").textContent = why;
    $("trouble").hidden = false;
    player.hidden = true;
  };
  // For a file that is there, but of another origin (every file: is), Chromium leaves the message empty.
  const cause = (address) => {
    const told = (player.error && player.error.message) || "";
    if (player.readyState > 0 || address.startsWith("blob:") || (player.error && player.error.code === 3)) return "format";
    if (/DEMUX|DECOD|SUPPORTED/i.test(told) || (!told && "chrome" in window)) return "format";
    return /Format error|404|not found|failed to open/i.test(told) ? "missing" : "unclear";
  };
  const failed = () => {
    const address = player.getAttribute("src") || "", host = /^https?:\/\/([^/]+)/.exec(address), name = facts.name;
    const codecs = facts.codecs ? ` (${facts.codecs})` : "", copy = "a copy of the file as MP4 with H.264 and AAC";
    const place = host ? host[1] : "";
    switch (cause(address)) {
      case "format":
        trouble(`This browser cannot decode ${name}`, `The file is damaged, or its format${codecs} is not supported here. Open this page in another browser, or choose ${copy}.`);
        break;
      case "missing":
        if (host) trouble(`${name} could not be loaded`, `${place} does not answer, or the link has expired. Choose a copy of the file on this computer.`);
        else trouble(`${name} was not found`, `This page looks for it at ${decodeURIComponent(address)}. If it was moved, choose it here.`);
        break;
      default:
        trouble(`${name} cannot be played`, `It is not at ${host ? place : decodeURIComponent(address)}, or this browser cannot decode its format${codecs}. Choose the file, or ${copy}.`);
    }
  };
  player.addEventListener("error", failed);
  player.addEventListener("loadedmetadata", () => {
    if (facts.kind === "video" && player.videoWidth === 0) { failed(); return; }
    if (asked) player.currentTime = asked;
    const known = +facts.duration, other = known && isFinite(player.duration) && Math.abs(player.duration - known) > Math.max(2, known / 50);
    $("warning").textContent = other ? `This file is ${clock(player.duration)} long, the summarised one ${clock(known)}: times may not match.` : "";
  });
  const choose = (file) => {
    if (!file) return;
    asked = now();
    if (player.src.startsWith("blob:")) URL.revokeObjectURL(player.src);
    facts.name = file.name;
    facts.codecs = "";
    player.src = URL.createObjectURL(file);
    player.hidden = false;
    $("trouble").hidden = true;
  };
  $("file").addEventListener("change", (event) => choose(event.target.files[0]));
  $("stage").addEventListener("dragover", (event) => event.preventDefault());
  $("stage").addEventListener("drop", (event) => { event.preventDefault(); choose(event.dataTransfer.files[0]); });
  if (player.error) failed();

  // --- Search, and the kinds of entries that are shown ---
  const fold = (text) => text.normalize("NFKC").toLowerCase();
  const paragraphs = all("#summary p").map((p) => ({ li: p }));
  const searched = () => [...paragraphs, ...chapters, ...entries];
  let ready = false;
  const prepare = () => { // on first use: reading 3,400 texts takes a moment
    if (ready) return;
    for (const one of searched()) { one.parts = one.li.matches("p") ? [one.li] : all(".text", one.li); one.text = fold(one.parts.map((part) => part.textContent).join("\n")); }
    ready = true;
  };
  const hits = (list, words) => list.filter((one) => words.every((word) => one.text.includes(word)));
  const several = (count, one, more = one + "s") => `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
  const colour = (found, words) => {
    if (!("highlights" in CSS)) return;
    const ranges = [];
    for (const one of words.length ? found : []) {
      for (const part of one.parts) for (const node of part.childNodes) {
        const text = fold(node.data || "");
        if (ranges.length > 500 || text.length !== (node.data || "").length) continue;
        for (const word of words) for (let at = text.indexOf(word); at >= 0 && ranges.length <= 500; at = text.indexOf(word, at + word.length)) {
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + word.length);
          ranges.push(range);
        }
      }
    }
    if (ranges.length) CSS.highlights.set("found", new Highlight(...ranges)); else CSS.highlights.delete("found");
  };
  const hidden = (element, out) => { if (element.classList.contains("out") !== out) element.classList.toggle("out", out); };
  let results = [];
  const search = () => {
    prepare();
    const query = $("search").value.trim(), words = fold(query).split(/\s+/).filter(Boolean), searching = words.length > 0;
    const on = new Set(!all(".kind").length ? ["event", "speech", "text"] : all(".kind").filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.kind));
    const said = hits(paragraphs, words), told = hits(chapters, words), seen = hits(entries, words);
    const shown = new Set([...told, ...seen.filter((one) => on.has(one.kind))]);
    for (const one of [...chapters, ...entries]) hidden(one.li, !shown.has(one));
    for (const group of groups) hidden(group, !group.querySelector("li:not(.out)"));
    hidden($("summary"), searching && !said.length);
    if (chapters.length) { hidden($("chapters-section"), !told.length); $("chapter-count").textContent = searching ? `${told.length} of ${chapters.length}` : chapters.length; }
    if ($("gaps")) hidden($("gaps"), searching);
    const count = (kind) => seen.filter((one) => one.kind === kind).length;
    for (const one of all(".kind")) one.querySelector(".count").textContent = count(one.dataset.kind).toLocaleString("en");
    const total = said.length + told.length + seen.length;
    hidden($("timeline"), searching && !seen.length);
    $("none").hidden = total > 0 || !searching;
    $("none-words").textContent = query;
    const parts = [[said.length, "paragraph"], [told.length, "chapter"], [count("event"), "event"],
      [count("speech"), "line of speech", "lines of speech"], [count("text"), "text on screen", "texts on screen"]];
    const listed = parts.filter(([number]) => number).map((part) => several(...part)).join(", ");
    $("found").textContent = !searching ? "" : total ? `${several(total, "result")}: ${listed}` : "No results";
    results = [...told, ...seen].filter((one) => shown.has(one)).sort((a, b) => a.start - b.start);
    colour([...said, ...shown], words);
  };
  let waiting = 0;
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(search, 120); };
  const clear = () => { $("search").value = ""; search(); };
  $("search").addEventListener("input", soon);
  $("find").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
    if (results.length && $("search").value.trim()) { seek(results[0].start); show(results[0].li, "center"); results[0].link.focus({ preventScroll: true }); }
  });
  $("clear").addEventListener("click", () => { clear(); $("search").focus(); });
  for (const one of all(".kind")) one.addEventListener("click", () => {
    one.setAttribute("aria-pressed", one.getAttribute("aria-pressed") !== "true");
    search();
  });
  (window.requestIdleCallback || setTimeout)(prepare);

  // --- Keys ---
  const among = (link, way) => {
    const links = all("a[data-seek]", link.closest("#groups, #chapters, #gaps")).filter((one) => one.offsetParent || one === link);
    const next = links[links.indexOf(link) + way];
    if (next) { next.focus(); show(next); }
  };
  $("single").checked = kept.read("keys") !== "off";
  $("single").addEventListener("change", () => kept.write("keys", $("single").checked ? "on" : "off"));
  $("keys").addEventListener("click", () => $("help").showModal());
  const keys = {
    "/": () => { $("search").focus(); $("search").select(); },
    "?": () => $("help").showModal(),
    k: () => (player.paused ? play() : player.pause()),
    " ": () => (player.paused ? play() : player.pause()),
    ArrowLeft: () => seek(now() - 5, { plays: false, link: false }),
    ArrowRight: () => seek(now() + 5, { plays: false, link: false }),
    n: () => step(1),
    p: () => step(-1),
    t: toNow,
  };
  document.addEventListener("keydown", (event) => {
    const here = event.target, key = event.key;
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (here === $("search")) {
      if (key === "Escape") { event.preventDefault(); if (here.value) clear(); else here.blur(); }
      return;
    }
    if (here.matches && here.matches("a[data-seek]") && (key === "ArrowDown" || key === "ArrowUp")) {
      event.preventDefault();
      among(here, key === "ArrowDown" ? 1 : -1);
      return;
    }
    const own = here.matches && here.matches("video, audio, input, dialog *") || (key === " " && here.matches && here.matches("button, a"));
    const usable = key === "/" || $("single").checked;
    if (own || !usable || !Object.hasOwn(keys, key)) return;
    if ((key === "k" || key === " " || key.startsWith("Arrow")) && !playable()) return;
    event.preventDefault();
    keys[key]();
  });

  // --- Links to a time ---
  const linked = () => {
    const found = /[#&]t=([\d.:]+)/.exec(location.hash);
    const time = found ? found[1].split(":").reduce((sum, part) => sum * 60 + +part, 0) : NaN;
    if (!(time >= 0)) return;
    seek(time, { plays: false, link: false });
    const target = marked.size ? [...marked].at(-1) : null;
    if (target) target.li.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", linked);
  linked();
})();
