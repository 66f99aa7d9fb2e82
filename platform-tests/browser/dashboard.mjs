// Logs in to Superset as a person would, and looks whether every chart of the start page shows data.
//
//   node dashboard.mjs BASE_URL USER PASSWORD OUT.png
//
// Prints a line per chart and writes the picture. Exit code 1 names the charts that are empty or failed. It
// must not call for data itself: what a visitor would not see is not a success.

import { writeFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const EX_USAGE = 64;
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const DEADLINE_MS = 1000 * Number(process.env.DASHBOARD_SECONDS ?? 240);
const POLL_MS = 500;
/** As long as a page is given to show its frame. */
const PAGE_MS = 60_000;
const WIDTH = 1400;
/** Less than this share of a chart's area drawn on is an empty chart; a map without land is one too. */
const DRAWN_SHARE_MIN = { deck_scatter: 0.1, default: 0.004 };

const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
  // The map is drawn with WebGL; where there is no graphics card it is drawn in software.
  '--enable-unsafe-swiftshader',
];

const [base, user, password, out] = process.argv.slice(2);
if (!out) {
  console.error('usage: node dashboard.mjs BASE_URL USER PASSWORD OUT.png');
  process.exit(EX_USAGE);
}

const deadline = Date.now() + DEADLINE_MS;
const left = () => Math.max(1, deadline - Date.now());
const pause = () => new Promise((resume) => setTimeout(resume, POLL_MS));

const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
let failures;
try {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 1000 } });
  const seen = watch(page);
  await logIn(page);
  failures = [...await firstPage(page), ...await look(page, seen), ...foreign(seen)];
} catch (err) {
  failures = [err.message.split('\n')[0]];
} finally {
  await browser.close();
}
for (const failure of failures) console.error(`FAIL ${failure}`);
process.exit(failures.length > 0 ? 1 : 0);

/** Collects what the page is sent: the newest answer to each chart, how many there were, and from where. */
function watch(page) {
  const seen = { answers: new Map(), rounds: new Map(), hosts: new Set() };
  page.on('response', async (response) => {
    const url = new URL(response.url());
    if (url.protocol.startsWith('http')) seen.hosts.add(url.host);
    if (url.pathname !== '/api/v1/chart/data') return;
    const id = JSON.parse(url.searchParams.get('form_data') ?? '{}').slice_id;
    const body = await response.json().catch(() => ({}));
    seen.answers.set(id, { status: response.status(), results: body.result ?? [] });
    seen.rounds.set(id, (seen.rounds.get(id) ?? 0) + 1);
  });
  return seen;
}

async function logIn(page) {
  await patiently(page, () => page.goto(`${base}/login/`), '#username', `${base}/login/ shows no form`);
  await page.fill('#username', user, { timeout: left() });
  await page.fill('#password', password, { timeout: left() });
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => !url.pathname.startsWith('/login'), { timeout: Math.min(left(), 60_000) })
    .catch(() => { throw new Error(`the login of ${user} is refused`); });
}

/**
 * Waits for what a page should show, and loads it again when it does not come. A container that starts beside us
 * changes the machine's network; the browser then drops what it was loading, and the page stays bare.
 */
async function patiently(page, load, selector, complaint) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await load();
      await page.waitForSelector(selector, { timeout: Math.min(left(), PAGE_MS), state: 'attached' });
      return;
    } catch (err) {
      if (Date.now() > deadline) throw new Error(`${complaint}: ${err.message}`);
      if (attempt === 1) console.log(`trying again: ${complaint}: ${err.message.split('\n')[0]}`);
      await pause();
    }
  }
}

/** The page after the login is the dashboard, without a click. */
async function firstPage(page) {
  const path = new URL(page.url()).pathname;
  console.log(`after the login: ${path}`);
  return path.startsWith('/superset/dashboard/') ? [] : [`after the login comes ${path}, not the dashboard`];
}

/** Waits until every chart shows data, and was refreshed by itself; returns what is wrong at the deadline. */
async function look(page, seen) {
  const slug = new URL(page.url()).pathname.split('/').filter(Boolean).pop();
  const charts = await chartsOf(page, slug);
  await showAll(page, charts.length);
  let verdicts;
  let picture;
  for (;;) {
    ({ verdicts, picture } = await judge(page, seen, charts));
    const refreshed = charts.every(({ id }) => (seen.rounds.get(id) ?? 0) > 1);
    if (verdicts.every(({ wrong }) => !wrong) && refreshed) break;
    if (Date.now() > deadline) {
      if (!refreshed) verdicts.push({ name: 'automatic refresh', wrong: 'not every chart asked for data again' });
      break;
    }
    await pause();
  }
  await writeFile(out, picture);
  for (const { name, wrong, what } of verdicts) console.log(`${wrong ? 'bad' : 'ok '} ${name}: ${wrong ?? what}`);
  return verdicts.filter(({ wrong }) => wrong).map(({ name, wrong }) => `${name}: ${wrong}`);
}

/** The charts that the dashboard has, as Superset itself lists them. */
async function chartsOf(page, slug) {
  const response = await page.request.get(`${base}/api/v1/dashboard/${slug}/charts`, { timeout: left() });
  if (!response.ok()) throw new Error(`the charts of dashboard ${slug} can't be listed: HTTP ${response.status()}`);
  return (await response.json()).result.map(({ id, slice_name, form_data }) => (
    { id, name: slice_name, kind: form_data.viz_type }));
}

/** Makes the window as high as the dashboard: a chart outside of it is not drawn. */
async function showAll(page, count) {
  // The first attempt takes the page that the login led to.
  let load = async () => { load = () => page.reload(); };
  await patiently(page, () => load(), `:nth-match([data-test-chart-id], ${count})`,
    `the dashboard shows fewer than its ${count} charts`);
  const bottom = await page.evaluate(() => Math.max(...[...document.querySelectorAll('[data-test-chart-id]')]
    .map((chart) => chart.getBoundingClientRect().bottom + window.scrollY)));
  await page.setViewportSize({ width: WIDTH, height: Math.ceil(bottom) + 24 });
}

/** One look at the page: a verdict for each chart, and the picture that it was read from. */
async function judge(page, seen, charts) {
  const parts = await page.evaluate(() => Object.fromEntries(
    [...document.querySelectorAll('[data-test-chart-id]')].map((chart) => {
      const { x, y, width, height } = (chart.querySelector('.slice_container') ?? chart).getBoundingClientRect();
      const text = (selector) => [...chart.querySelectorAll(selector)].map((part) => part.innerText.trim()).join(' ');
      return [chart.dataset.testChartId, {
        box: { x, y, width, height },
        loading: chart.querySelector('.loading, [data-test="loading-indicator"]') !== null,
        error: text('.ant-alert-error, [role="alert"]').slice(0, 200),
        empty: text('.ant-empty, [data-test="empty"]'),
      }];
    })));
  const picture = await page.screenshot();
  const drawn = await drawnShares(page, picture, charts.map(({ id }) => parts[id]?.box));
  const verdicts = charts.map(({ id, name, kind }, i) => (
    { name: `${name} (${kind})`, ...verdict(kind, parts[id], seen.answers.get(id), drawn[i]) }));
  return { verdicts, picture };
}

function verdict(kind, part, answer, drawn) {
  if (!part) return { wrong: 'not on the page' };
  if (part.error) return { wrong: part.error };
  if (part.empty) return { wrong: `empty: ${part.empty}` };
  if (part.loading || !answer) return { wrong: 'still loading' };
  if (answer.status >= 400) return { wrong: `its data: HTTP ${answer.status}` };
  const rows = answer.results.flatMap(({ data }) => data ?? []);
  if (!rows.some((row) => Object.values(row).some((value) => value !== null))) return { wrong: 'its data has no rows' };
  const share = `${(100 * drawn).toFixed(1)} % of its area drawn`;
  if (drawn < (DRAWN_SHARE_MIN[kind] ?? DRAWN_SHARE_MIN.default)) return { wrong: `blank: ${share}` };
  return { what: `rows=${rows.length}, ${share}` };
}

/** What share of each box of the picture is not the box's commonest colour. */
async function drawnShares(page, picture, boxes) {
  return page.evaluate(async ([base64, areas]) => {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext('2d', { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return areas.map((area) => {
      if (!area || area.width < 1 || area.height < 1) return 0;
      const pixels = new Uint32Array(context.getImageData(area.x, area.y, area.width, area.height).data.buffer);
      const counts = new Map();
      for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
      return 1 - Math.max(...counts.values()) / pixels.length;
    });
  }, [picture.toString('base64'), boxes]);
}

/** Everything comes from the server that was asked. */
function foreign(seen) {
  return [...seen.hosts].filter((host) => host !== new URL(base).host)
    .map((host) => `the page loaded something from ${host}`);
}
