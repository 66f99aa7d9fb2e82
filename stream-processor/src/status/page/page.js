// The job page: asks for /status.json every second and shows it.
//
// Whatever came from a record, a server or the job file is untrusted: it enters the page as text only.

"use strict";

const POLL_MS = 1000;
const HIDDEN_POLL_MS = 5000;
const ANSWER_MAX_MS = 4000;
const LAG_SCALE_MIN = 100;
const HIDDEN = "<hidden>";
const NONE = "None since the start of this process.";

const $ = (id) => document.getElementById(id);

/** Makes an element; strings among the children become text. */
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function makeSvg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** Changes a text only when it changed, so that a selection survives. */
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Rebuilds a node's children only when `key` changed. */
function rebuild(node, key, children) {
  const text = JSON.stringify(key);
  if (node.shown === text) return;
  node.shown = text;
  node.replaceChildren(...children());
}

/** A number that a check can compare with the line of /metrics of that name. */
function metric(node, name, value, text) {
  node.dataset.metric = name;
  node.dataset.value = String(value);
  say(node, text);
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en-US", { notation: "compact", minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

const count = (n) => whole.format(n);
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

function rate(n) {
  if (n >= 100000) return short.format(n);
  if (n >= 100 || n === 0) return whole.format(n);
  return n.toFixed(1);
}

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return `${n >= 10 || unit === 0 ? whole.format(n) : n.toFixed(1)} ${units[unit]}`;
}

function span(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.floor(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

const took = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");
const sum = (list) => list.reduce((a, b) => a + b, 0);
const last = (name) => name.slice(name.lastIndexOf(".") + 1);
const before = (name) => name.slice(0, name.lastIndexOf("."));

// What does not change while the process lives.

const KEYWORDS = new Set((
  "CREATE TABLE WITH INSERT INTO SELECT FROM WHERE AND OR NOT NULL AS IN IS BETWEEN LIKE CASE WHEN THEN ELSE END "
  + "CAST TRY_CAST METADATA VIRTUAL STRING INT BIGINT DOUBLE FLOAT BOOLEAN DECIMAL DATE TIMESTAMP TIMESTAMP_LTZ "
  + "VARCHAR CHAR BYTES SMALLINT TINYINT COALESCE TRUE FALSE INTERVAL EXECUTE STATEMENT SET BEGIN"
).split(" "));
const TOKEN = /(--[^\n]*|\/\*[\s\S]*?\*\/)|('(?:[^']|'')*')|(\b\d+(?:\.\d+)?\b)|([A-Za-z_][A-Za-z0-9_]*)/g;

function highlighted(sql) {
  const parts = [];
  let end = 0;
  for (const found of sql.matchAll(TOKEN)) {
    const [text, comment, quoted, number] = found;
    const kind = comment ? "c" : quoted ? "s" : number ? "n" : KEYWORDS.has(text.toUpperCase()) ? "k" : "";
    if (!kind) continue;
    parts.push(sql.slice(end, found.index), make("span", { class: kind }, text));
    end = found.index + text.length;
  }
  parts.push(sql.slice(end));
  return parts;
}

let job = null;
const lanes = [];
const source = {};

function node(kind, title, name) {
  const parts = {
    big: make("div", { class: "big" }),
    first: make("p"),
    second: make("p"),
  };
  parts.node = make("div", { class: `node ${kind}` },
    make("div", { class: "kind" }, title), make("div", { class: "name" }, name));
  return parts;
}

function wire() {
  const label = make("span");
  const line = make("div", { class: "wire" }, label, make("i"));
  return { line, label };
}

function showJob() {
  const main = job.sinks[0];
  const title = `${job.source.topic} → ${last(main.table)}`;
  say($("title"), title);
  document.title = `${title} · StreamForge`;

  Object.assign(source, node("source", "Source", job.source.topic));
  source.node.append(make("p", {}, `Kafka at ${job.source.brokers}`), source.big, source.first, source.second);
  const list = make("div", { class: "lanes" });
  lanes.length = 0;
  job.sinks.forEach((sink, index) => {
    const reject = index === job.sinks.length - 1;
    const filter = node("filter", reject ? "Rejected" : "Filter",
      reject ? "what does not fit the declaration" : "");
    if (!reject) filter.node.append(make("code", {}, sink.condition ? `WHERE ${sink.condition}` : "every record"));
    filter.node.append(filter.big, filter.first);
    const table = node("sink", `Table in ${before(sink.table)}`, last(sink.table));
    table.node.append(table.big, table.first, table.second);
    const [into, out] = [wire(), wire()];
    list.append(make("div", { class: reject ? "lane reject" : "lane" }, into.line, filter.node, out.line, table.node));
    lanes.push({ reject, into, filter, out, table });
  });
  $("pipe").replaceChildren(source.node, list);

  $("sql").replaceChildren(...highlighted(job.sql));
  $("settings").replaceChildren(...job.settings.map(({ name, value }) => make("div", {},
    make("dt", {}, name),
    value === HIDDEN ? make("dd", { class: "hidden-value" }, "hidden") : make("dd", {}, value || "–"))));
}

// What changes.

const STATES = {
  starting: ["starting", "warn"],
  committing: ["committing", "good"],
  caught_up: ["caught up", "good"],
  standby: ["standby", "warn"],
  stuck: ["not committing", "bad"],
  unheard: ["no broker", "bad"],
  stopping: ["stopping", "warn"],
};

function pill(text, tone) {
  say($("state"), text);
  $("state").className = `pill ${tone}`;
}

function banner(tone, head, text) {
  const node = $("banner");
  node.hidden = !tone;
  node.className = `banner ${tone}`;
  rebuild(node, [head, text], () => [make("b", {}, head), text]);
}

function showHealth(now) {
  const { ready, state, reason } = now.health;
  const [text, tone] = STATES[state] || [state, "warn"];
  pill(text, tone);
  if (!ready) {
    banner(tone, state === "starting" || state === "stopping" ? "Not ready" : "Records are not being committed", reason);
  } else if (state === "standby") {
    banner("warn", "Standby: no partition is assigned", "The other members of the group read every partition. This process takes over when one of them ends.");
  } else if (now.reader.paused) {
    banner("warn", "Reading is paused", `Commits are behind, and the memory budget is used up. ${reason}`);
  } else if (reason.startsWith("committing;")) {
    banner("warn", "A commit is slow", reason.slice("committing;".length));
  } else {
    banner("", "", "");
  }
}

function flowing(wire, perSecond, text) {
  wire.line.classList.toggle("on", perSecond > 0);
  say(wire.label, text);
}

function big(node, perSecond, unit) {
  rebuild(node, [rate(perSecond), unit], () => [rate(perSecond), make("small", {}, ` ${unit}`)]);
}

function showPipe(now) {
  const { rates } = now;
  big(source.big, rates.read, "records/s");
  metric(source.first, "streamforge_records_read_total", now.job.read, `${count(now.job.read)} read since start`);
  const held = Object.keys(now.reader.position).length;
  say(source.second, held ? plural(held, "partition") + " held" : "no partition held");
  lanes.forEach((lane, index) => {
    const table = now.job.tables[index];
    const speed = rates.tables[index];
    if (!table || !speed) return;
    const name = `{table="${table.name}"}`;
    if (lane.reject) {
      flowing(lane.into, rates.rejected, `${rate(rates.rejected)}/s`);
      big(lane.filter.big, rates.rejected, "records/s rejected");
      const rejected = sum(Object.values(now.job.rejected));
      say(lane.filter.first, `${count(rejected)} rejected since start`);
    } else {
      flowing(lane.into, rates.read, `${rate(rates.read)}/s`);
      big(lane.filter.big, speed.filtered, "records/s filtered out");
      metric(lane.filter.first, `streamforge_records_filtered_total${name}`, table.filtered,
        `${count(table.filtered)} filtered since start`);
    }
    flowing(lane.out, speed.selected, `${rate(speed.selected)}/s`);
    big(lane.table.big, speed.rows, "rows/s written");
    metric(lane.table.first, `streamforge_rows_committed_total${name}`, table.rows,
      `${count(table.rows)} rows committed since start`);
    const age = table.last_commit_age_ms;
    say(lane.table.second, age === null ? "no commit yet"
      : `last commit ${span(age)} ago, took ${took(table.last_commit_ms)}`);
  });
}

let cpuBefore = null;

function tile(what) {
  const value = make("div", { class: "value" });
  return { node: make("div", { class: "tile" }, make("div", { class: "what" }, what), value), value };
}
const tiles = {
  lag: tile("Lag of the slowest table"), age: tile("Last commit"), commits: tile("Commits"),
  bytes: tile("Written"), races: tile("Fences / lost races"), memory: tile("Memory"), cpu: tile("CPU"),
};
const lagOf = (table) => sum(Object.values(table.lag));

function showTiles(now) {
  const { tables } = now.job;
  const { process } = now;
  rebuild($("tiles"), "made", () => Object.values(tiles).map((tile) => tile.node));
  const small = (tile, text, unit) =>
    rebuild(tile.value, [text, unit], () => [text, make("small", {}, ` ${unit}`)]);
  small(tiles.lag, count(Math.max(0, ...tables.map(lagOf))), "records");
  const ages = tables.map((table) => table.last_commit_age_ms).filter((age) => age !== null);
  small(tiles.age, ages.length ? span(Math.min(...ages)) : "–", ages.length ? "ago" : "");
  small(tiles.commits, count(sum(tables.map((table) => table.commits))), "");
  small(tiles.bytes, bytes(sum(tables.map((table) => table.bytes))), "");
  const races = sum(tables.map((table) => table.conflicts));
  small(tiles.races, `${count(now.job.fenced)} / ${count(races)}`, "");
  tiles.races.node.classList.toggle("warn", now.job.fenced > 0);
  small(tiles.memory, process.rss_bytes ? bytes(process.rss_bytes) : "–",
    process.rss_peak_bytes ? `peak ${bytes(process.rss_peak_bytes)}` : "");
  if (process.cpu_ms !== null) {
    const earlier = cpuBefore || { cpu: 0, at: 0 };
    const share = (process.cpu_ms - earlier.cpu) / Math.max(1, process.uptime_ms - earlier.at);
    small(tiles.cpu, `${(100 * Math.max(0, share)).toFixed(share < 0.1 ? 1 : 0)} %`, "of one core");
    cpuBefore = { cpu: process.cpu_ms, at: process.uptime_ms };
  }
  say($("facts"), `version ${process.version} · up ${span(process.uptime_ms)} · ${clock(Date.now())}`);
}

const PLOT_W = 600;
const PLOT_H = 100;
const PLOT_POINTS = 150;

/** Draws a list of values as an area, the newest at the right edge. */
function plot(node, what, values, unit) {
  if (!node.parts) {
    const svg = makeSvg("svg", { viewBox: `0 0 ${PLOT_W} ${PLOT_H}`, preserveAspectRatio: "none", role: "img" });
    for (let minute = 1; minute < 5; minute += 1) {
      const x = (PLOT_W * minute) / 5;
      svg.append(makeSvg("line", { x1: x, x2: x, y1: 0, y2: PLOT_H }));
    }
    const area = makeSvg("path", { class: "area" });
    const edge = makeSvg("path", { class: "edge" });
    svg.append(area, edge);
    const [now, top] = [make("b"), make("span")];
    node.append(
      make("figcaption", {}, make("span", {}, `${what} `, now), top), svg,
      make("div", { class: "axis" }, make("span", {}, "5 min ago"), make("span", {}, "now")));
    node.parts = { svg, area, edge, now, top };
  }
  const { parts } = node;
  const peak = Math.max(0, ...values);
  const x = (index) => PLOT_W - ((values.length - 1 - index) * PLOT_W) / (PLOT_POINTS - 1);
  const y = (value) => PLOT_H - 2 - (value / Math.max(1, peak)) * (PLOT_H - 10);
  const points = values.map((value, index) => `${x(index).toFixed(1)} ${y(value).toFixed(1)}`);
  const line = points.length ? `M${points.join("L")}` : "";
  parts.edge.setAttribute("d", line);
  parts.area.setAttribute("d", line && `${line}L${PLOT_W} ${PLOT_H}L${x(0).toFixed(1)} ${PLOT_H}Z`);
  const current = values.length ? values[values.length - 1] : 0;
  say(parts.now, `${rate(current)} ${unit}`);
  say(parts.top, `peak ${rate(peak)}`);
  parts.svg.setAttribute("aria-label", `${what}: ${rate(current)} ${unit} now, peak ${rate(peak)}`);
}

function showLag(now) {
  const { tables } = now.job;
  const partitions = Object.keys(now.reader.position).map(Number).sort((a, b) => a - b);
  const node = $("lag");
  rebuild(node, [partitions, tables.map((table) => table.name)], () => {
    node.rows = partitions.map((partition) => {
      const bars = tables.map((_, index) => make("i"));
      const value = make("span", { class: "num" });
      const row = make("div", { class: "lag-row" }, make("span", { class: "soft" }, String(partition)),
        make("div", { class: "bars" }, ...bars.map((bar, index) =>
          make("div", { class: index === tables.length - 1 ? "bar reject" : "bar" }, bar))), value);
      return { partition, row, bars, value };
    });
    const legend = tables.map((table, index) =>
      make("span", { class: index === tables.length - 1 ? "reject" : "" }, make("i"), last(table.name)));
    return partitions.length
      ? [...node.rows.map(({ row }) => row), make("div", { class: "legend" }, ...legend)]
      : [make("p", { class: "empty" }, "No partition is held by this process.")];
  });
  const lag = (table, partition) => table.lag[partition] || 0;
  const scale = Math.max(LAG_SCALE_MIN, ...partitions.flatMap((p) => tables.map((table) => lag(table, p))));
  for (const { partition, row, bars, value } of node.rows || []) {
    bars.forEach((bar, index) => { bar.style.width = `${(100 * lag(tables[index], partition)) / scale}%`; });
    say(value, count(Math.max(0, ...tables.map((table) => lag(table, partition)))));
    const places = tables.map((table) => `${last(table.name)} at ${count(table.position[partition] || 0)}`);
    row.title = `partition ${partition} ends at ${count(now.reader.high[partition] || 0)}; ${places.join("; ")}`;
  }
}

function commitRow(commit) {
  const cell = (text, unit) => make("td", unit ? { class: "num", "data-unit": unit } : { class: "num" }, text);
  const snapshot = commit.snapshot === null ? "landed before" : commit.snapshot;
  const races = commit.conflicts ? ` after ${plural(commit.conflicts, "lost race")}` : "";
  return make("tr", commit.rows ? {} : { class: "quiet" },
    make("td", {}, clock(commit.unix_ms)), make("td", { title: commit.table }, last(commit.table)),
    cell(count(commit.rows), "rows"), cell(count(commit.records)),
    cell(commit.rows ? bytes(commit.bytes) : "–"), cell(took(commit.ms) + races),
    make("td", { class: "num mono" }, snapshot));
}

function showCommits(commits) {
  const none = () => make("tr", {}, make("td", { class: "soft", colspan: "7" }, NONE));
  rebuild($("commits").tBodies[0], commits, () => (commits.length ? commits.map(commitRow) : [none()]));
}

function sample(one) {
  const time = one.time_ms === null ? "" : ` · ${new Date(one.time_ms).toISOString()}`;
  const size = one.payload === null ? "no payload" : bytes(one.payload_bytes);
  return make("div", { class: "sample" },
    make("p", {}, `partition ${one.partition}, offset ${count(one.offset)}${time} · ${size}`),
    make("p", {}, one.detail), ...(one.payload === null ? [] : [make("pre", {}, one.payload)]));
}

const reasons = new Map();

function showRejects(rejects) {
  const list = [...rejects].sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1));
  for (const { reason, count: number, samples } of list) {
    if (!reasons.has(reason)) {
      const [total, body] = [make("b"), make("div")];
      const details = make("details", {}, make("summary", {}, make("span", {}, reason.replaceAll("_", " ")), total), body);
      reasons.set(reason, { details, total, body });
    }
    const shown = reasons.get(reason);
    metric(shown.total, `streamforge_records_rejected_total{reason="${reason}"}`, number, count(number));
    rebuild(shown.body, samples, () => samples.map(sample));
  }
  rebuild($("rejects"), list.map(({ reason }) => reason), () => (list.length
    ? list.map(({ reason }) => reasons.get(reason).details)
    : [make("p", { class: "empty" }, NONE)]));
}

function showRows(rows) {
  rebuild($("rows"), rows, () => {
    const tables = Object.entries(rows);
    if (!tables.length) return [make("p", { class: "empty" }, NONE)];
    return tables.map(([name, { columns, rows: list }]) => make("div", { class: "rows" },
      make("h3", {}, `${name}: newest first, sampled once a second before the commit`),
      make("div", { class: "scroll", tabindex: "0" }, make("table", {},
        make("thead", {}, make("tr", {}, ...columns.map((column) => make("th", {}, column)))),
        make("tbody", {}, ...list.map((row) => make("tr", {}, ...row.map((cell) => (cell === null
          ? make("td", { class: "null" }, "NULL")
          : make("td", { title: cell }, cell))))))))));
  });
}

function show(now) {
  showHealth(now);
  showPipe(now);
  showTiles(now);
  plot($("plot-read"), "Read:", now.plot.read, "records/s");
  plot($("plot-lag"), "Lag:", now.plot.lag, "records");
  showLag(now);
  showCommits(now.commits);
  showRejects(now.rejects);
  showRows(now.rows);
}

// Asking.

let process = null;
let heard = 0;
let polls = 0;

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_MAX_MS), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

/** Asks once and shows the answer; an answer that does not come is shown, too. */
async function poll() {
  let now;
  try {
    now = await ask("status.json");
    if (now.process.started_unix_ms !== process) {
      job = await ask("job.json");
      process = now.process.started_unix_ms;
      cpuBefore = null;
      reasons.clear();
      showJob();
    }
  } catch {
    lost();
    return;
  }
  document.body.classList.remove("lost");
  show(now);
  heard = Date.now();
  polls += 1;
  document.body.dataset.polls = String(polls);
  document.body.dataset.state = now.health.state;
}

async function keepPolling() {
  for (;;) {
    await poll();
    await new Promise((done) => { setTimeout(done, document.hidden ? HIDDEN_POLL_MS : POLL_MS); });
  }
}

function lost() {
  document.body.classList.add("lost");
  document.body.dataset.state = "lost";
  pill("no answer", "bad");
  banner("bad", "The processor does not answer", heard
    ? `It was last heard at ${clock(heard)}; the figures below are from then. This page keeps asking.`
    : "Nothing was heard from it yet. This page keeps asking.");
}

keepPolling();
