// A small GitHub: a few endpoints with a memory. Its REST side stands behind Prism, which refuses requests and answers
// that are not as GitHub's own description says; its GraphQL side is run on GitHub's own schema.
// Usage: node fake.mjs NODE_MODULES FOLDER FORK TOKEN; prints its port when it is ready, and ends with its input.
import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';

const [modules, folder, fork, token] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'x.js'));
const { buildSchema, graphql } = require('graphql');
const schema = buildSchema(fs.readFileSync(path.join(modules, '@octokit/graphql-schema/schema.graphql'), 'utf8'), {
  assumeValidSDL: true,
});
const description = JSON.parse(
  fs.readFileSync(path.join(modules, '@octokit/openapi/generated/api.github.com.json'), 'utf8'),
);
const repo = '/repos/{owner}/{repo}';
const paths = [
  `${repo}/pulls`, `${repo}/pulls/{pull_number}`, `${repo}/issues/{issue_number}/labels`, `${repo}/issues`,
  `${repo}/issues/{issue_number}`, `${repo}/issues/{issue_number}/comments`, `${repo}/statuses/{sha}`,
];
description.paths = Object.fromEntries(paths.map((p) => [p, description.paths[p]]));
const example = (name) => structuredClone(description.components.examples[name].value);

const pulls = new Map();
const issues = new Map();
const statuses = [];
const log = { rest: [], graphql: 0, refused: [] };
let limited = false;

const whole = (pull) => ({ ...example('pull-request'), ...common(pull) });
const simple = (pull) => ({ ...example('pull-request-simple-items')[0], ...common(pull) });
// As on a server of one's own: the pages stand where the interface does.
const page = (number) => `http://127.0.0.1:${port}/up/thing/pull/${number}`;
function common(pull) {
  const { number, title, body, state, draft } = pull;
  return { number, title, body, state, draft, html_url: page(number), requested_teams: [], labels: [] };
}

// An issue; others than we may have opened one with our marker.
const issue = (there) => ({
  ...example('issue'), ...common(there), pull_request: undefined, author_association: there.stranger ? 'NONE' : 'COLLABORATOR',
  labels: there.labels.map((name) => ({ ...example('label'), name })),
});

function about(request, url, body) {
  const status = url.pathname.match(/^\/repos\/up\/thing\/statuses\/([0-9a-f]{40})$/);
  if (status) {
    try {
      execFileSync('git', ['-C', fork, 'cat-file', '-e', `${status[1]}^{commit}`], { stdio: 'ignore' });
    } catch {
      return [422, { message: `No commit found for SHA: ${status[1]}` }];
    }
    statuses.push({ sha: status[1], ...body });
    return [201, { ...example('status'), ...body }];
  }
  const [, number, comments] = url.pathname.match(/^\/repos\/up\/thing\/issues(?:\/(\d+))?(\/comments)?$/) ?? [];
  const there = issues.get(Number(number));
  if (comments && there) {
    there.comments.push(body.body);
    return [201, { ...example('issue-comment'), body: body.body }];
  }
  if (number && !there) return [404, { message: 'Not Found' }];
  if (there && request.method === 'PATCH') return [200, issue(Object.assign(there, body))];
  if (there) return [200, issue(there)];
  if (request.method === 'POST') {
    const made = { number: issues.size + 1, state: 'open', labels: [], comments: [], ...body };
    issues.set(made.number, made);
    return [201, issue(made)];
  }
  const all = [...issues.values()].filter((i) => [i.state, 'all'].includes(url.searchParams.get('state')));
  return [200, Number(url.searchParams.get('page') ?? 1) === 1 ? all.map(issue) : []];
}

async function rest(request, body) {
  const url = new URL(request.url, 'http://fake');
  if (/\/(issues|issues\/\d+|comments|statuses\/\w+)$/.test(url.pathname)) return about(request, url, body);
  const there = url.pathname.match(/^\/repos\/up\/thing\/(pulls|issues)(?:\/(\d+))?(\/labels)?$/);
  if (!there) return [404, { message: 'Not Found' }];
  const [, kind, number, labels] = there;
  const pull = pulls.get(Number(number));
  if (kind === 'pulls' && !number && request.method === 'GET') {
    const wanted = (p) => `me:${p.head}` === url.searchParams.get('head') && p.base === url.searchParams.get('base');
    return [200, [...pulls.values()].filter((p) => p.state === 'open' && wanted(p)).map(simple)];
  }
  if (kind === 'pulls' && !number && request.method === 'POST') {
    const { title, head, base, draft = false } = body;
    const branch = head.replace(/^me:/, '');
    let oid;
    try {
      oid = execFileSync('git', ['-C', fork, 'rev-parse', '--verify', `refs/heads/${branch}`], { encoding: 'utf8' });
    } catch {
      return [422, { message: 'Validation Failed', errors: [{ resource: 'PullRequest', code: 'invalid', field: 'head' }] }];
    }
    const made = { number: pulls.size + 1, title, body: body.body, head: branch, base, draft, state: 'open', oid: oid.trim() };
    pulls.set(made.number, made);
    return [201, whole(made)];
  }
  if (kind === 'pulls' && pull && request.method === 'PATCH') return [200, whole(Object.assign(pull, body))];
  if (kind === 'issues' && pull && labels && request.method === 'POST') {
    pull.labels = body.labels;
    return [200, body.labels.map((name) => ({ ...example('label'), name }))];
  }
  return [404, { message: 'Not Found' }];
}

function seen(pull) {
  const { number, draft, oid, more = {} } = pull;
  const nodes = (list) => ({ nodes: list });
  return {
    number, url: page(number), state: 'OPEN', isDraft: draft, headRefOid: oid,
    createdAt: '2020-01-02T03:04:05Z', mergedAt: null, closedAt: null, reviewDecision: null, mergeCommit: null,
    ...more,
    commits: nodes([{ commit: { statusCheckRollup: more.checks ? { state: more.checks } : null } }]),
    latestReviews: nodes(more.reviews ?? []),
    reviewRequests: nodes((more.asked ?? []).map((login) => ({ requestedReviewer: { __typename: 'User', login } }))),
  };
}

async function ask({ query, variables }) {
  log.graphql += 1;
  const repository = ({ owner, name }) => {
    if (`${owner}/${name}` !== 'up/thing') throw new Error('no such repository');
    return {
      pullRequest: ({ number }) => {
        if (!pulls.has(number)) throw new Error(`Could not resolve to a PullRequest with the number of ${number}.`);
        return seen(pulls.get(number));
      },
    };
  };
  const answer = await graphql({ schema, source: query, variableValues: variables, rootValue: { repository } });
  const { data, errors } = JSON.parse(JSON.stringify(answer));
  if (!data) log.refused.push(errors);
  return { data, ...(errors && { errors: errors.map((e) => ({ type: 'NOT_FOUND', ...e })) }) };
}

const read = (stream) =>
  new Promise((done) => {
    const parts = [];
    stream.on('data', (part) => parts.push(part)).on('end', () => done(Buffer.concat(parts)));
  });
const say = (response, status, value, headers = {}) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
};
const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)));
const free = () =>
  new Promise((done) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

const back = http.createServer(async (request, response) => {
  const body = await read(request);
  log.rest.push(`${request.method} ${request.url}`);
  const [status, value] = await rest(request, body.length ? JSON.parse(body) : undefined);
  say(response, status, value);
});
const backPort = await listen(back);
const prismPort = await free();
const narrow = path.join(folder, 'github.json');
fs.writeFileSync(narrow, JSON.stringify(description));
const prism = spawn(
  process.execPath,
  [path.join(modules, '@stoplight/prism-cli/dist/index.js'), 'proxy', '--errors', '-h', '127.0.0.1', '-p', `${prismPort}`, narrow, `http://127.0.0.1:${backPort}`],
  { stdio: ['ignore', fs.openSync(path.join(folder, 'prism.log'), 'w'), 'inherit'] },
);
const end = () => {
  prism.kill();
  process.exit();
};
process.stdin.on('end', end).resume();
process.on('SIGTERM', end);

const front = http.createServer(async (request, response) => {
  const body = await read(request);
  if (request.url === '/control') {
    const { number, more, limit, stranger } = body.length ? JSON.parse(body) : {};
    if (stranger) issues.set(issues.size + 1, { number: issues.size + 1, state: 'open', labels: [], comments: [], ...stranger });
    if (limit !== undefined) limited = limit;
    if (number) pulls.get(number).more = more;
    return say(response, 200, { pulls: [...pulls.values()], issues: [...issues.values()], statuses, log });
  }
  if (!['Bearer', 'token'].some((word) => request.headers.authorization === `${word} ${token}`)) {
    return say(response, 401, { message: 'Bad credentials' });
  }
  if (limited) {
    const headers = { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': '1600000000' };
    return say(response, 403, { message: 'API rate limit exceeded' }, headers);
  }
  if (request.url === '/graphql') return say(response, 200, await ask(JSON.parse(body)));
  const { host, ...headers } = request.headers;
  const through = http.request(
    { host: '127.0.0.1', port: prismPort, path: request.url, method: request.method, headers },
    async (answer) => {
      const text = await read(answer);
      if (answer.statusCode >= 400) log.refused.push(`${request.method} ${request.url}: ${text}`);
      response.writeHead(answer.statusCode, { 'content-type': 'application/json' });
      response.end(text);
    },
  );
  through.end(body);
});
const port = await listen(front);
for (;;) {
  const open = await new Promise((done) => {
    const socket = net.connect(prismPort, '127.0.0.1', () => done(true)).on('error', () => done(false));
    socket.on('connect', () => socket.end());
  });
  if (open) break;
  await new Promise((done) => setTimeout(done, 100));
}
console.log(port);
