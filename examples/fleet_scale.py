#!/usr/bin/env python3
"""What a fleet's night takes: generated projects behind git's own `git http-backend`, by one worker and by two.

    cargo build --release
    python3 examples/fleet_scale.py target/release/git-carry 1 10 50 200 > scale.md

Each project has an upstream of its own (200 files, 50 commits), ten patches, and a deploy repository of its own. A night
follows five new commits of each trunk. Times are of the workers alone, with what git does for them; the server works on the
same machine.
"""
import json, os, resource, subprocess, sys, tempfile, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILES, HISTORY, PATCHES, MOVES = 200, 50, 10, 5
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
       "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org"}


def git(at, *args, stdin=None):
    out = subprocess.run(["git", *args], cwd=at, env=ENV, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if out.returncode:
        sys.exit(f"git {args}: {out.stderr.decode()}")
    return out.stdout


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root = requests = sent = got = None

    def log_message(self, *_):
        pass

    def answer(self):
        path, _, query = self.path.partition("?")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = dict(ENV, GIT_PROJECT_ROOT=self.root, GIT_HTTP_EXPORT_ALL="1", REMOTE_USER="x", REQUEST_METHOD=self.command,
                   PATH_INFO=path, QUERY_STRING=query, CONTENT_TYPE=self.headers.get("Content-Type", ""),
                   CONTENT_LENGTH=str(len(body)), REMOTE_ADDR="127.0.0.1",
                   HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
                   GIT_PROTOCOL=self.headers.get("Git-Protocol", ""))
        out = subprocess.run(["git", "http-backend"], env=env, input=body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((v for k, v in lines if k == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for k, v in lines:
            if k != "Status":
                self.send_header(k, v)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)
        with LOCK:
            COUNTS[0] += 1
            COUNTS[1] += len(rest)
            COUNTS[2] += len(body)

    do_GET = do_POST = answer


LOCK, COUNTS = threading.Lock(), [0, 0, 0]


def stream(n, commits, first):
    """A branch as `git fast-import` reads it: each commit changes four files somewhere."""
    out, when = [], 1790000000 + 60 * first
    for c in range(first, first + commits):
        out.append(f"commit refs/heads/main\ncommitter A <a@example.org> {when + 60 * (c - first)} +0000\ndata <<E\ncommit {c} of {n}\nE\n")
        if c == first and first:
            out.append("from refs/heads/main^0\n")
        touched = range(FILES) if c == 0 else [(c * 17 + k * 41) % FILES for k in range(4)]
        for f in touched:
            text = "".join(f"file {f} line {l} as of {c if l % 37 == c % 37 and c and not 50 < l < 70 else 0}\n" for l in range(120))
            out.append(f"M 100644 inline src/{f % 10}/f{f}\ndata {len(text)}\n{text}\n")
    return "".join(out).encode()


def patch(n, p):
    """A patch that changes one line of one file, in git's own words."""
    f = (p * 13 + n) % FILES
    lines = [f" file {f} line {l} as of 0\n" for l in range(57, 64)]
    lines[3:4] = [f"-file {f} line 60 as of 0\n", f"+file {f} line 60, ours {p}\n"]
    name = f"src/{f % 10}/f{f}"
    return (f"From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\n"
            f"Date: Mon, 21 Sep 2026 12:00:00 +0000\nSubject: [PATCH] change {p}\n\n---\ndiff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n"
            f"@@ -58,7 +58,7 @@\n" + "".join(lines))


def make(root, count, url):
    toml = ["version = 1\n"]
    ws = f"{root}/ws"
    os.makedirs(ws)
    git(ws, "init", "-q", "-b", "main")
    for n in range(count):
        for kind in ("up", "deploy"):
            git(root, "init", "-q", "--bare", "-b", "main", f"{kind}{n}.git")
        git(f"{root}/deploy{n}.git", "config", "http.receivepack", "true")
        git(f"{root}/up{n}.git", "fast-import", "--quiet", stdin=stream(n, HISTORY, 0))
        os.makedirs(f"{ws}/patches/p{n}")
        for p in range(PATCHES):
            with open(f"{ws}/patches/p{n}/change-{p}.patch", "w") as f:
                f.write(patch(n, p))
        with open(f"{ws}/patches/p{n}/series", "w") as f:
            f.write("".join(f"change-{p}.patch\n" for p in range(PATCHES)))
        toml.append(f'[project.p{n}]\nupstream = "{url}/up{n}.git"\nbranch = "main"\n[project.p{n}.deploy]\nremote = "{url}/deploy{n}.git"\n')
    with open(f"{ws}/carry.toml", "w") as f:
        f.write("".join(toml))
    git(ws, "add", "-A")
    git(ws, "commit", "-q", "-m", "the queues")
    git(root, "clone", "-q", "--bare", "ws", "queue.git")


def work(binary, root, workers, trace=None):
    """A night by so many workers, each in its own clone: seconds, processor seconds, and the units done."""
    env = dict(ENV)
    if trace:
        os.makedirs(trace, exist_ok=True)
        env["GIT_TRACE2_EVENT"] = trace
    with LOCK:
        COUNTS[:] = [0, 0, 0]
    begun, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    args = lambda n: [binary, "--json", "fleet", "run", *(["--all"] if workers == 1 else ["--shard", f"{n + 1}/{workers}"])]
    running = [subprocess.Popen(args(n), cwd=f"{root}/w{n}", env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(workers)]
    done = 0
    for one in running:
        out, err = one.communicate()
        units = json.loads(out)
        done += sum(u["fate"] == "done" for u in units)
        bad = [u for u in units if u["fate"] != "done"]
        if bad or one.returncode:
            sys.exit(f"{one.returncode} {bad[:2]} {err.decode()[-400:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.time() - begun, cpu, done, list(COUNTS)


def calls(trace):
    """Seconds and number of git's calls by command, as far as git-carry itself made them."""
    sums = {}
    for name in os.listdir(trace):
        for line in open(f"{trace}/{name}", errors="replace"):
            event = json.loads(line)
            if "/" in event["sid"]:
                continue
            if event["event"] == "cmd_name":
                command = event["name"]
            elif event["event"] == "exit":
                n, s = sums.get(command, (0, 0.0))
                sums[command] = (n + 1, s + event["t_abs"])
    return sums


def main():
    binary = os.path.abspath(sys.argv[1])
    for count in map(int, sys.argv[2:]):
        with tempfile.TemporaryDirectory() as root:
            Backend.root = root
            server = ThreadingHTTPServer(("127.0.0.1", 0), Backend)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            make(root, count, f"http://127.0.0.1:{server.server_port}")
            for n in range(2):
                git(root, "clone", "-q", "queue.git", f"w{n}")
            at, rows = HISTORY, []
            for night, workers in [("first", 1), ("next", 1), ("next", 2), ("next", 1), ("next", 2)]:
                if night == "next":
                    for n in range(count):
                        git(f"{root}/up{n}.git", "fast-import", "--quiet", stdin=stream(n, MOVES, at))
                    at += MOVES
                trace = f"{root}/trace-{len(rows)}" if workers == 1 else None
                seconds, cpu, done, (requests, down, up) = work(binary, root, workers, trace)
                rows.append((night, workers, seconds))
                print(f"{count} projects, {night} night, {workers} workers: {seconds:.1f} s, {cpu:.1f} processor s, {done} done, "
                      f"{requests / count:.1f} requests, {down / count / 1000:.1f} kB down, {up / count / 1000:.1f} kB up a project", flush=True)
                if trace:
                    for command, (calls_, s) in sorted(calls(trace).items(), key=lambda kv: -kv[1][1])[:9]:
                        print(f"    git {command}: {calls_ / count:.1f} calls, {1000 * s / count:.0f} ms a project", flush=True)
            refs = len(git(f"{root}/deploy0.git", "for-each-ref").splitlines())
            print(f"    refs of a deploy repository after {len(rows)} nights: {refs}", flush=True)
            server.shutdown()


main()
