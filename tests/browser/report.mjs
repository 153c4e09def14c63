// Opens reports in headless Chromium: node report.mjs FOLDER CHROMIUM PLAIN HOSTILE OTHER…
// FOLDER has node_modules (package.json says which), PLAIN is a page, HOSTILE one full of names that want to be more.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, executablePath, plain, hostile, ...others] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/`));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });

// A page that must be silent, ask for nothing and open no dialog.
async function open(file, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const said = [];
  const url = pathToFileURL(file).href;
  page.on('console', (message) => said.push(`console ${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => { said.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => {
    if (request.url().split('#')[0] !== url && !request.url().startsWith('data:')) said.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return { page, done: async () => { await context.close(); assert.deepEqual(said, [], `${file} is not silent`); } };
}

async function accessible(page, where) {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Runtime.evaluate', { expression: axe });
  const found = await page.evaluate(() => axe.run());
  assert.ok(found.passes.length > 15, `axe looked at the page: ${where}`);
  const bad = found.violations.filter((v) => ['serious', 'critical'].includes(v.impact));
  const told = bad.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join('\n    ')}`);
  assert.deepEqual(told, [], `axe: ${where}`);
}

const visible = (page) => page.$$eval('table.queue tbody tr', (rows) =>
  rows.filter((row) => row.offsetParent !== null).map((row) => row.querySelector('.name').textContent));

for (const width of [400, 1600]) {
  for (const colorScheme of ['light', 'dark']) {
    for (const file of [plain, hostile, ...others]) {
      const { page, done } = await open(file, { viewport: { width, height: 900 }, colorScheme });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `the page is ${wide} pixels wide in a window of ${width}`);
      // What is folded is looked at too.
      await page.evaluate(() => { for (const part of document.querySelectorAll('details')) part.open = true; });
      await accessible(page, `${file} at ${width}, ${colorScheme}`);
      await done();
    }
  }
}

{
  const { page, done } = await open(plain, { viewport: { width: 1600, height: 900 } });
  const all = await visible(page);
  assert.ok(all.length > 4);

  // Sorting: by a click, by a key, both ways; the whole queue stays.
  const head = page.locator('table.queue thead th', { hasText: 'Patch' });
  await head.locator('button').click();
  assert.deepEqual(await visible(page), [...all].sort());
  assert.equal(await head.getAttribute('aria-sort'), 'ascending');
  await head.locator('button').focus();
  await page.keyboard.press('Enter');
  assert.deepEqual(await visible(page), [...all].sort().reverse());
  assert.equal(await head.getAttribute('aria-sort'), 'descending');
  await page.locator('table.queue thead th', { hasText: 'Outcome' }).locator('button').click();
  assert.equal((await visible(page))[0], 'quota-count-again', 'what is blocked, then what conflicts');
  assert.equal(await head.getAttribute('aria-sort'), null);
  await page.locator('table.queue thead th', { hasText: '#' }).locator('button').click();
  assert.deepEqual(await visible(page), all);

  // Filters: by outcome, owner, group and text, and all of them together.
  const shown = page.locator('.filters output');
  assert.equal(await shown.textContent(), `${all.length} of ${all.length}`);
  await page.selectOption('[data-f=outcome]', 'conflict');
  assert.deepEqual(await visible(page), ['quota-fix-the-race']);
  assert.equal(await shown.textContent(), `1 of ${all.length}`);
  await page.selectOption('[data-f=outcome]', '');
  await page.selectOption('[data-f=owner]', 'Kim');
  assert.deepEqual(await visible(page), ['quota-fix-the-race', 'quota-count-again']);
  await page.fill('[data-f=text]', 'COUNT');
  assert.deepEqual(await visible(page), ['quota-count-again']);
  await page.fill('[data-f=text]', '');
  await page.selectOption('[data-f=owner]', '');
  await page.selectOption('[data-f=group]', 'paging');
  assert.deepEqual(await visible(page), ['api-cap-it']);

  // The graph's boxes and squares lead to the patch that they name, through a filter as well.
  const links = await page.$$eval('svg.stack a, .map a', (found) => found.map((a) => ({
    name: (a.querySelector('title')?.textContent ?? a.title).split(': ')[0],
    row: document.querySelector(a.getAttribute('href'))?.querySelector('.name')?.textContent,
  })));
  assert.ok(links.length >= all.length);
  for (const { name, row } of links) assert.equal(row, name);
  const box = page.locator('svg.stack a', { hasText: 'quota-fix-the-race' }).first();
  await box.click();
  assert.equal(await page.evaluate(() => document.querySelector(':target .name').textContent), 'quota-fix-the-race');
  assert.deepEqual(await visible(page), all, 'the filter gave way');

  // Every link within the page leads somewhere.
  const dead = await page.$$eval('a', (found) => found
    .map((a) => a.getAttribute('href'))
    .filter((href) => !href || (href.startsWith('#') && !document.getElementById(href.slice(1)))));
  assert.deepEqual(dead, []);

  // On paper all is unfolded, and what is for the hand is gone.
  await page.emulateMedia({ media: 'print' });
  assert.equal(await page.locator('nav').first().isVisible(), false);
  assert.ok((await page.pdf()).length > 10_000);
  await done();
}

{
  // By keyboard: the first stop leads past the head.
  const { page, done } = await open(plain);
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'To the report');
  await done();
}

{
  // Without its script the page has the whole queue, and no dead field.
  const { page, done } = await open(plain, { javaScriptEnabled: false });
  assert.ok(await page.locator('table.queue tbody tr').count() > 4);
  assert.equal(await page.locator('.filters').isVisible(), false);
  assert.equal(await page.locator('button').count(), 0);
  await done();
}

{
  const { page, done } = await open(hostile);
  const foreign = await page.$$eval('img, b, i, iframe, object, form, body script:not(:last-of-type)', (f) => f.map((e) => e.outerHTML));
  assert.deepEqual(foreign, []);
  const handlers = await page.$$eval('*', (all) => all.filter((e) => [...e.attributes].some((a) => a.name.startsWith('on'))).length);
  assert.equal(handlers, 0);
  const schemes = await page.$$eval('a', (all) => all.map((a) => a.protocol).filter((p) => !['file:', 'https:'].includes(p)));
  assert.deepEqual(schemes, []);
  const text = await page.evaluate(() => document.body.textContent);
  for (const wanted of ['x"\'><b>&lt;', '<script>alert(1)</script>', '<svg onload=alert(3)>', '</pre><script>alert(5)</script>', '<i>"a']) {
    assert.ok(text.includes(wanted), `'${wanted}' is told as it is`);
  }
  assert.doesNotMatch(text, /[\u0000-\u0008\u000b-\u001f\u202e]/);
  // A filter takes its word from what it lists.
  await page.selectOption('[data-f=owner]', '">');
  assert.equal((await visible(page)).length, 1);
  await page.selectOption('[data-f=group]', `'"></select><b>`);
  assert.equal((await visible(page)).length, 1);
  await done();
}

await browser.close();
console.log('all is well');
