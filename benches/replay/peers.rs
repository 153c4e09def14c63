//! The programs that are measured.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::works::Work;
use crate::{CARRY, Measured, Place, Program, Row, Told, command, in_turns, median, must, run};

/// The argument by which this program replays by libgit2 alone.
pub const LIBGIT2: &str = "--replay-by-libgit2";

/// The repository of the peers: upstream's objects, and the stack as git itself writes it.
fn theirs(dir: &Path, store: &Path, upstream: &str) -> PathBuf {
    let theirs = dir.join("theirs.git");
    must(dir, "git", &["clone", "-q", "--bare", "--shared", upstream, "theirs.git"]);
    must(&theirs, "git", &["branch", "onto", "bench"]);
    must(&theirs, "git", &["branch", "base", &must(store, "git", &["rev-parse", "base"])]);
    let mut export =
        command(store, "git", &["fast-export", "--reference-excluded-parents", "base..measured"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
    let stream = export.stdout.take().expect("its output");
    let import = command(&theirs, "git", &["fast-import", "--quiet"]).stdin(stream).status();
    assert!(import.expect("it runs").success() && export.wait().expect("it runs").success());
    let trees = [store, theirs.as_path()].map(|at| must(at, "git", &["rev-parse", "measured^{tree}"]));
    assert_eq!(trees[0], trees[1], "the stack is what it was");
    // As `git gc` leaves it.
    must(&theirs, "git", &["commit-graph", "write", "--reachable"]);
    theirs
}

/// Runs each on the work; `git carry rebase` is the first row.
pub fn measure(dir: &Path, work: &Work, store: &Path) -> Vec<Row> {
    let git = std::env::var("GIT_CARRY_BENCH_GIT").unwrap_or_else(|_| "git".into());
    let version = must(dir, &git, &["version"]).replace("git version ", "");
    let tree = |at: &Path, rev: &str| must(at, "git", &["rev-parse", &format!("{rev}^{{tree}}")]);
    let upstream = work.upstream.to_string_lossy().into_owned();
    let store = &theirs(dir, store, &upstream);
    let mut rows = Vec::new();
    let mut row = |name: String, run: Told, tree: &dyn Fn(&str) -> String| {
        let result = run.map(|(time, memory, out)| Measured { time, memory, tree: tree(&out) });
        rows.push(Row { name, result });
    };

    // Each round begins with what the run before leaves (the import, here), and writes each object for the first time. What a
    // round left stays.
    let fresh = Cell::new(0);
    let another = |name: &str| {
        fresh.set(fresh.get() + 1);
        dir.join(format!("{name}{}", fresh.get()))
    };
    let workspace = || {
        let ws = another("ws");
        must(dir, "cp", &["-a", "measured", &ws.to_string_lossy()]);
        // The index knows the files that were copied.
        must(&ws, "git", &["status", "--porcelain"]);
        Place::at(&ws)
    };
    let objects = || {
        let own = another("objects");
        std::fs::create_dir(&own).expect("a folder");
        let lent = ("GIT_ALTERNATE_OBJECT_DIRECTORIES", store.join("objects"));
        Place { at: store.clone(), env: vec![("GIT_OBJECT_DIRECTORY", own), lent] }
    };
    let is_told = run(store, &git, &["replay", "-h"]).1.contains("--ref-action");
    let replay: Vec<&str> = ["replay", "--ref-action=print", "--onto", "onto", "base..measured"]
        .into_iter()
        .filter(|arg| is_told || !arg.starts_with("--ref-action"))
        .collect();
    let mut three = [
        Program { prepare: Box::new(workspace), program: CARRY, args: &["rebase"] },
        Program { prepare: Box::new(workspace), program: CARRY, args: &["rebase", "--dry-run"] },
        Program { prepare: Box::new(objects), program: &git, args: &replay },
    ];
    let mut told = in_turns(&mut three).into_iter();
    let ws = workspace().at;
    must(&ws, CARRY, &["rebase"]);
    let own_tree = tree(&ws.join(".git/carry/p.git"), "refs/heads/deploy/p");
    let mut next = || told.next().flatten();
    row("git carry rebase".into(), next(), &|_| own_tree.clone());
    row("git carry rebase --dry-run".into(), next(), &|_| own_tree.clone());
    row(format!("git replay {version}"), next(), &|_| {
        // Once more, where its objects are looked for.
        let out = must(store, &git, &replay);
        // `update <ref> <new> <old>`
        tree(store, out.split_whitespace().nth(2).unwrap_or("HEAD"))
    });

    let last = std::env::var("GIT_CARRY_BENCH_LAST").unwrap_or_default();
    if last == "replay" {
        return rows;
    }
    let at = dir.join("tree");
    must(store, "git", &["worktree", "add", "-q", "--detach", &at.to_string_lossy(), "measured"]);
    let checkout = |rev: &str| {
        // What a peer left unfinished goes.
        for abort in ["rebase", "am", "cherry-pick"] {
            let _ = run(&at, "git", &[abort, "--abort"]);
        }
        let _ = run(&at, "git", &["reset", "-q", "--hard"]);
        let _ = run(&at, "git", &["clean", "-q", "-fdx"]);
        must(&at, "git", &["checkout", "-q", "-f", "--detach", rev]);
    };
    let rebase = median(|| checkout("measured"), &at, &git, &["rebase", "-q", "--onto", "onto", "base"]);
    row(format!("git rebase {version}"), rebase, &|_| tree(&at, "HEAD"));
    if last == "rebase" {
        return rows;
    }
    let args = ["rebase", "-q", "--apply", "--onto", "onto", "base"];
    let apply = median(|| checkout("measured"), &at, &git, &args);
    row("git rebase --apply".into(), apply, &|_| tree(&at, "HEAD"));
    let picks = median(|| checkout("onto"), &at, &git, &["cherry-pick", "--allow-empty", "base..measured"]);
    row("git cherry-pick".into(), picks, &|_| tree(&at, "HEAD"));

    let mail = dir.join("mail");
    must(
        store,
        "git",
        &["format-patch", "-q", "-o", &mail.to_string_lossy(), "--full-index", "base..measured"],
    );
    let mut files: Vec<_> =
        std::fs::read_dir(&mail).expect("listed").map(|f| f.expect("listed").path()).collect();
    files.sort();
    let all: Vec<u8> = files.iter().flat_map(|f| std::fs::read(f).expect("read")).collect();
    let mbox = dir.join("mbox");
    std::fs::write(&mbox, all).expect("written");
    let am = median(|| checkout("onto"), &at, &git, &["am", "-q", "-3", &mbox.to_string_lossy()]);
    row("git am -3".into(), am, &|_| tree(&at, "HEAD"));

    if installed("quilt").is_some() {
        let series: String =
            files.iter().filter_map(|f| Some(format!("{}\n", f.file_name()?.to_str()?))).collect();
        std::fs::write(mail.join("series"), series).expect("written");
        let patches = at.join("patches");
        let prepare = || {
            let _ = std::fs::remove_dir_all(at.join(".pc"));
            let _ = std::fs::remove_file(&patches);
            checkout("onto");
            std::os::unix::fs::symlink(&mail, &patches).expect("linked");
        };
        let quilt = median(prepare, &at, "quilt", &["push", "-a", "-q"]);
        let quilt = quilt.inspect(|_| {
            let _ = std::fs::remove_dir_all(at.join(".pc"));
            let _ = std::fs::remove_file(&patches);
            must(&at, "git", &["add", "-A"]);
        });
        row("quilt push -a".into(), quilt, &|_| must(&at, "git", &["write-tree"]));
        let _ = std::fs::remove_dir_all(at.join(".pc"));
        let _ = std::fs::remove_file(&patches);
    }

    if let Some(version) = installed("stg") {
        let version = version.lines().next().unwrap_or_default().replace("Stacked Git", "StGit");
        let count = files.len().to_string();
        let round = std::cell::Cell::new(0);
        let stacked = || {
            round.set(round.get() + 1);
            checkout("measured");
            must(&at, "git", &["checkout", "-q", "-b", &format!("stacked{}", round.get()), "measured"]);
            must(&at, "stg", &["init"]);
            must(&at, "stg", &["uncommit", "-n", &count]);
        };
        let stg = median(stacked, &at, "stg", &["rebase", "onto"]);
        row(format!("{version} rebase"), stg, &|_| tree(&at, "HEAD"));
        let _ = run(&at, "git", &["checkout", "-q", "-f", "--detach", "measured"]);
    }

    if let Some(version) = installed("jj") {
        let (result, tree) = jujutsu(dir, store);
        row(format!("{} rebase", version.replace("jj", "Jujutsu")), result, &|_| tree.clone());
    }

    let me = std::env::current_exe().expect("its path");
    let path = store.to_string_lossy();
    let by_libgit2 = median(|| (), dir, &me.to_string_lossy(), &[LIBGIT2, &path, "base", "measured", "onto"]);
    row("libgit2 (cherry-picks in memory)".into(), by_libgit2, &|out| tree(store, out.trim()));
    rows
}

/// What a program says of its version, if it is there.
fn installed(program: &str) -> Option<String> {
    let out = Command::new(program).arg("--version").stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Jujutsu, as fast as it can be: without a look at its work tree, and without refs of git, which it is not asked to write. And
/// the tree that it comes to.
fn jujutsu(dir: &Path, store: &Path) -> (Told, String) {
    let settings = dir.join("jj.toml");
    // Else what has a tag or a remote is not to be moved.
    let text = "user.name = \"bench\"\nuser.email = \"bench@example.org\"\nrevset-aliases.\"immutable_heads()\" = \"none()\"\n";
    std::fs::write(&settings, text).expect("written");
    let (settings, store) = (settings.to_string_lossy(), store.to_string_lossy());
    let always = ["--ignore-working-copy", "--no-pager", "--color=never", "--config-file", &settings];
    let round = Cell::new(0);
    let place = || {
        round.set(round.get() + 1);
        let (git, jj) = (format!("jj{}.git", round.get()), format!("jj{}", round.get()));
        must(dir, "git", &["clone", "-q", "--bare", "--shared", &store, &git]);
        must(dir, "jj", &["--config-file", &settings, "git", "init", "--quiet", "--git-repo", &git, &jj]);
        Place::at(&dir.join(jj))
    };
    let rebase = [&always[..], &["rebase", "--quiet", "-s", "roots(base..measured)", "-o", "onto"]].concat();
    let told =
        in_turns(&mut [Program { prepare: Box::new(place), program: "jj", args: &rebase }]).pop().flatten();
    if told.is_none() {
        return (None, String::new());
    }
    let (git, jj) = [".git", ""].map(|end| dir.join(format!("jj{}{end}", round.get()))).into();
    let tip =
        must(&jj, "jj", &[&always[..], &["log", "--no-graph", "-r", "measured", "-T", "commit_id"]].concat());
    (told, must(&git, "git", &["rev-parse", &format!("{tip}^{{tree}}")]))
}

/// Replays `base..tip` onto `onto` by libgit2's own cherry-pick, and prints the new tip.
pub fn libgit2(args: &[String]) {
    let [path, base, tip, onto] = args else { panic!("REPO BASE TIP ONTO") };
    let repo = git2::Repository::open(path).expect("it opens");
    let commit = |rev: &str| repo.revparse_single(rev).and_then(|o| o.peel_to_commit()).expect("a commit");
    let mut walk = repo.revwalk().expect("a walk");
    walk.push(commit(tip).id()).and_then(|()| walk.hide(commit(base).id())).expect("a range");
    walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::REVERSE).expect("an order");
    let mut onto = commit(onto);
    for id in walk {
        let pick = repo.find_commit(id.expect("an id")).expect("a commit");
        let mut index = repo.cherrypick_commit(&pick, &onto, 0, None).expect("a merge");
        assert!(!index.has_conflicts(), "{}", pick.id());
        let tree = index.write_tree_to(&repo).and_then(|id| repo.find_tree(id)).expect("a tree");
        let (author, committer) = (pick.author(), pick.committer());
        let message = String::from_utf8_lossy(pick.message_raw_bytes()).into_owned();
        let id = repo.commit(None, &author, &committer, &message, &tree, &[&onto]).expect("a commit");
        onto = repo.find_commit(id).expect("it is there");
    }
    println!("{}", onto.id());
}
