/* The list of episodes: filters, search, order, keys, and which episode the address names. Runs after episode.js. */

const SORTS = {
  "as stored": () => 0,
  id: (a, b) => a.id.localeCompare(b.id, "en", { numeric: true }),
  "progress, lowest first": (a, b) => a.progress - b.progress,
  "progress, highest first": (a, b) => b.progress - a.progress,
  "replies, most first": (a, b) => count(b).replies - count(a).replies,
  "tool errors, most first": (a, b) => count(b).errors - count(a).errors,
};

// ---- the list

/** Everything that the search looks through, in lower case; made when it is first needed. */
const searchable = new Map();
function textOf(episode) {
  if (!searchable.has(episode.key)) {
    const found = [];
    const collect = (value) => {
      if (typeof value === "string") found.push(value);
      else if (value && typeof value === "object") Object.values(value).forEach(collect);
    };
    collect(episode);
    searchable.set(episode.key, found.join("\n").toLowerCase());
  }
  return searchable.get(episode.key);
}

let listed = []; // the episodes that the filters leave, in order
let chosen = null;

function row(episode) {
  const { mark, name } = OUTCOMES[episode.outcome];
  const link = el("a", "", el("span", `mark ${episode.outcome}`, mark), el("span", "name", episode.key));
  const detail = episode.outcome === "failed" && episode.error_type ? words(episode.error_type) : name;
  const file = data.files.length > 1 ? `${data.files[episode.file].label} · ` : "";
  link.append(el("span", "detail", file + detail), el("span", "turns", episode.turns.map(turnMark).join(" ")));
  link.href = `#${encodeURIComponent(episode.key)}`;
  link.title = `${name}; turn scores ${episode.turns.map((turn) => turn.score).join(" ")}`;
  const item = el("li", "", link);
  item.dataset.key = episode.key;
  return item;
}

function showList() {
  const category = $("category").value;
  const [outcome, errorType] = $("outcome").value.split("/");
  const file = $("file").value;
  const wanted = $("search").value.trim().toLowerCase();
  listed = data.episodes.filter((episode) =>
    (!category || episode.category === category) &&
    (!outcome || episode.outcome === outcome) &&
    (!errorType || episode.error_type === errorType) &&
    (!file || episode.file === Number(file)) &&
    (!wanted || textOf(episode).includes(wanted)));
  listed.sort(SORTS[$("sort").value]);
  $("episodes").replaceChildren(...listed.map(row));
  $("count").textContent = `${number(listed.length)} of ${many(data.episodes.length, "episode")}`;
  markChosen();
}

function markChosen() {
  for (const item of $("episodes").children) {
    const current = chosen !== null && item.dataset.key === chosen.key;
    if (current) {
      item.setAttribute("aria-current", "true");
      item.scrollIntoView({ block: "nearest" });
    } else item.removeAttribute("aria-current");
  }
}

/** Show the episode that the address names; without one, the first. */
function choose() {
  let key = "";
  try {
    key = decodeURIComponent(location.hash.slice(1));
  } catch {
    key = location.hash.slice(1); // not ours: no episode has such a key
  }
  chosen = key ? data.episodes.find((episode) => episode.key === key) ?? null : listed[0] ?? null;
  if (chosen) showEpisode(chosen);
  else $("episode").replaceChildren(el("p", "note", key ? `This page has no episode "${key}".` : "No episode."));
  document.title = chosen ? `${chosen.key} · envtune view` : "envtune view";
  markChosen();
  window.scrollTo(0, 0);
}

function move(by) {
  const place = listed.indexOf(chosen);
  const next = listed[place < 0 ? 0 : Math.min(Math.max(place + by, 0), listed.length - 1)];
  if (next && next !== chosen) location.hash = encodeURIComponent(next.key);
}

// ---- the head of the page, the filters and the keys

function options(select, pairs) {
  for (const [value, label] of pairs) select.append(Object.assign(el("option", "", label), { value }));
}

function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

function setUp() {
  const all = data.episodes.length;
  const outcomes = [];
  const totals = [many(all, "episode")];
  for (const [outcome, { mark, name }] of Object.entries(OUTCOMES)) {
    const of = data.episodes.filter((episode) => episode.outcome === outcome);
    if (!of.length) continue;
    totals.push(`${mark} ${number(of.length)} ${name}`);
    outcomes.push([outcome, `${name} (${of.length})`]);
    if (outcome !== "failed") continue;
    for (const [type, n] of tally(of.map((episode) => episode.error_type))) outcomes.push([`${outcome}/${type}`, `– ${words(type)} (${n})`]);
  }
  $("totals").textContent = totals.join(" · ");
  options($("category"), [["", `all (${all})`], ...tally(data.episodes.map((e) => e.category)).map(([name, n]) => [name, `${name} (${n})`])]);
  options($("outcome"), [["", `all (${all})`], ...outcomes]);
  options($("sort"), Object.keys(SORTS).map((name) => [name, name]));
  options($("file"), [["", "all"], ...data.files.map((file, place) => [place, `${file.label} (${file.episodes})`])]);
  $("file-label").hidden = data.files.length < 2;
  showProvenance();

  let waiting = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(showList, 120);
  });
  for (const id of ["category", "outcome", "sort", "file"]) $(id).addEventListener("change", showList);
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", choose);
  document.addEventListener("keydown", onKey);
}

function showProvenance() {
  const said = {
    file: (file) => file.name,
    written: (file) => file.written,
    episodes: (file) => number(file.episodes),
    release: (file) => file.release.join(", "),
    rules: (file) => file.rules.join(", "),
    feedback: (file) => file.feedback.join(", "),
    model: (file) => file.model ?? "",
    protocol: (file) => file.protocol ?? "",
    commit: (file) => (file.commit ?? "").slice(0, 12),
  };
  const columns = Object.entries(said).filter(([, of]) => data.files.some(of));
  const table = el("table", "", el("thead", "", el("tr", "", ...columns.map(([name]) => el("th", "", name)))));
  const rows = data.files.map((file) => el("tr", "", ...columns.map(([, of]) => el("td", "", of(file)))));
  table.append(el("tbody", "", ...rows));
  const rule = data.limit === null
    ? "Every text is here whole."
    : `A text of more than ${number(data.limit)} characters is cut to that many: three quarters of them from its beginning, one from its end. The file has it whole.`;
  $("provenance").append(
    el("div", "scroll", table),
    el("p", "", `Made by envtune ${data.version} at ${data.made}. ${rule} Control characters are written as escapes. States come from executing the calls again.`),
    el("p", "", "Keys: j and k, or the arrows, for the next and the previous episode; / to search; Escape to leave the search."),
  );
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const inList = $("side").contains(document.activeElement);
  const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1, ...(inList ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
  if (step) move(step);
  else if (event.key === "/") $("search").focus();
  else return;
  event.preventDefault();
}

setUp();
showList();
choose();
