#!/usr/bin/env node
// Opens the job page in a headless browser and holds it against /metrics.
//
//   node job_page.mjs BASE_URL OUT.png [--allow-idle]
//
// Waits until the page shows a job that reads and commits, then checks that its counters equal those of
// /metrics, that it asked nobody but its own server, and that nothing was written to the browser's console.
// Writes a screenshot either way. Exit 0 if all holds, 1 with the reasons if not, 2 for a wrong command line.
//
// `--allow-idle` is for a job without load: it need not read while it is watched.
// CHROMIUM names the browser to start; otherwise a `chromium` on the PATH, or the one that came with playwright.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const WAIT_MS = 60_000;
const POLLS_AFTER = 2;
const VIEWPORT = { width: 1280, height: 900 };
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
// What must be on the page, whatever else is.
const EXPECTED = [
  /^streamforge_records_read_total$/,
  /^streamforge_records_filtered_total\{/,
  /^streamforge_rows_committed_total\{table=".*rejected_events"\}$/,
  /^streamforge_rows_committed_total\{(?!table=".*rejected_events")/,
];

const [base, out, ...flags] = process.argv.slice(2);
if (!base || !out || flags.some((flag) => flag !== "--allow-idle")) {
  console.error("usage: job_page.mjs BASE_URL OUT.png [--allow-idle]");
  process.exit(2);
}
const allowIdle = flags.includes("--allow-idle");

/** The browser to start. */
function browser() {
  const places = (process.env.PATH || "").split(delimiter);
  const found = ["chromium", "chromium-browser", "google-chrome"]
    .flatMap((name) => places.map((place) => join(place, name))).find(existsSync);
  const executablePath = process.env.CHROMIUM || found;
  return chromium.launch({ args: FLAGS, ...(executablePath ? { executablePath } : {}) });
}

/** `name{labels}` → value, for every sample of /metrics. */
async function metrics() {
  const answer = await fetch(new URL("metrics", base));
  if (!answer.ok) throw new Error(`/metrics answers ${answer.status}`);
  const lines = (await answer.text()).split("\n").filter((line) => line && !line.startsWith("#"));
  return new Map(lines.map((line) => {
    const end = line.lastIndexOf(" ");
    return [line.slice(0, end), Number(line.slice(end + 1))];
  }));
}

/** The page's own counters: what each claims to be, its raw value, and what is to be read there. */
const shown = (page) => page.$$eval("[data-metric]", (nodes) => nodes.map((node) => ({
  name: node.dataset.metric, value: Number(node.dataset.value), text: node.textContent,
})));

/** Compares the page's counters with what /metrics said before and after. */
function differences(before, seen, after) {
  const wrong = [];
  for (const { name, value, text } of seen) {
    const [low, high] = [before.get(name) ?? 0, after.get(name)];
    if (high === undefined) wrong.push(`${name} is on the page, and not in /metrics`);
    else if (value < low || value > high) wrong.push(`${name} is ${value} on the page; /metrics says ${low} to ${high}`);
    if (!text.includes(value.toLocaleString("en-US"))) wrong.push(`${name} is ${value}, but the page reads "${text}"`);
  }
  for (const pattern of EXPECTED) {
    if (!seen.some(({ name }) => pattern.test(name))) wrong.push(`nothing on the page is ${pattern}`);
  }
  const names = new Set(seen.map(({ name }) => name));
  for (const [name, value] of before) {
    if (name.startsWith("streamforge_records_rejected_total{") && value > 0 && !names.has(name)) {
      wrong.push(`${name} is ${value} in /metrics, and not on the page`);
    }
  }
  return wrong;
}

async function check(page, reasons) {
  const origin = new URL(base).origin;
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) reasons.push(`asked elsewhere: ${request.url()}`);
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) reasons.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => reasons.push(`script: ${error.message}`));

  await page.goto(base, { waitUntil: "load", timeout: WAIT_MS });
  await page.waitForFunction((allowIdle) => {
    const values = (start) => [...document.querySelectorAll("[data-metric]")]
      .filter((node) => node.dataset.metric.startsWith(start)).map((node) => Number(node.dataset.value));
    const live = allowIdle || document.querySelectorAll(".wire.on").length > 0;
    return live && ["committing", "caught_up"].includes(document.body.dataset.state)
      && values("streamforge_rows_committed_total").some((rows) => rows > 0)
      && document.querySelectorAll("#commits tbody td.num").length > 0
      && document.querySelectorAll("#rows tbody tr").length > 0
      && document.querySelectorAll("#sql span").length > 0;
  }, allowIdle, { timeout: WAIT_MS });

  // A poll that began after the first look at /metrics cannot show less; one that ended before the second, not more.
  const before = await metrics();
  const polls = await page.evaluate(() => Number(document.body.dataset.polls));
  await page.waitForFunction((wanted) => Number(document.body.dataset.polls) >= wanted, polls + POLLS_AFTER, { timeout: WAIT_MS });
  const seen = await shown(page);
  reasons.push(...differences(before, seen, await metrics()));

  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) reasons.push(`the page is ${wide} px wider than the window`);
  return seen;
}

const reasons = [];
let seen = [];
const chrome = await browser();
try {
  const page = await chrome.newPage({ viewport: VIEWPORT });
  try {
    seen = await check(page, reasons);
  } catch (error) {
    reasons.push(error.message.split("\n")[0]);
    const state = await page.evaluate(() => `${document.body.dataset.state}: ${document.getElementById("banner")?.textContent}`).catch(() => "");
    if (state) reasons.push(`the page's state is ${state}`);
  }
  await page.screenshot({ path: out, fullPage: true }).catch((error) => reasons.push(`screenshot: ${error.message}`));
} finally {
  await chrome.close();
}
for (const { name, value } of seen) console.log(`${name} ${value}`);
if (reasons.length) {
  for (const reason of reasons) console.error(`job page: ${reason}`);
  process.exit(1);
}
console.log(`the job page and /metrics agree in ${seen.length} figures; screenshot in ${out}`);
