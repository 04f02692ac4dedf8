//! The real git against the embedded server.

use std::path::{Path, PathBuf};

use claude_workers::fakehub::{FakeHub, Fault, NewRepo, Options, Role};

use crate::commit_on_top;

struct World {
    hub: FakeHub,
    dir: tempfile::TempDir,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(&Options::new(dir.path().join("hub"))).unwrap();
    for login in ["octo", "reader"] {
        hub.add_user(login).unwrap();
        hub.add_token(login, &format!("{login}-token"), None).unwrap();
    }
    let repo = |slug| NewRepo::new(slug).file("README.md", "hello\n");
    hub.add_repo(&repo("octo/App").default_branch("trunk").file("bin/run", "#!/bin/sh\n")).unwrap();
    hub.add_repo(&repo("octo/secret").private()).unwrap();
    World { hub, dir }
}

/// What git did: whether it succeeded, and its words on both streams.
struct Done {
    ok: bool,
    words: String,
}

fn git(dir: &Path, args: &[&str]) -> Done {
    let output = assert_cmd::Command::new("git")
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("NO_PROXY", "127.0.0.1")
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = text(&output.stdout) + &text(&output.stderr);
    Done { ok: output.status.success(), words }
}

/// git's words, of a command that must succeed.
fn must(dir: &Path, args: &[&str]) -> String {
    let done = git(dir, args);
    assert!(done.ok, "git {args:?}: {}", done.words);
    done.words.trim().to_owned()
}

impl World {
    /// The URL for somebody with a token, or for nobody.
    fn url(&self, who: Option<&str>, path: &str) -> String {
        let address = self.hub.server_url().trim_start_matches("http://");
        match who {
            Some(login) => format!("http://x-access-token:{login}-token@{address}/{path}"),
            None => format!("http://{address}/{path}"),
        }
    }

    fn try_clone(&self, who: Option<&str>, path: &str) -> Done {
        git(self.dir.path(), &["clone", "--quiet", &self.url(who, path), "clone"])
    }

    fn clone_as(&self, login: &str) -> PathBuf {
        let done = self.try_clone(Some(login), "octo/app.git");
        assert!(done.ok, "{}", done.words);
        self.dir.path().join("clone")
    }
}

fn commit(dir: &Path, file: &str, bytes: &[u8]) {
    std::fs::write(dir.join(file), bytes).unwrap();
    must(dir, &["add", file]);
    must(dir, &["commit", "--quiet", "-m", "Change"]);
}

#[test]
fn anybody_clones_a_public_repository() {
    let world = world();
    let done = world.try_clone(None, "octo/app");
    assert!(done.ok, "{}", done.words);
    let clone = world.dir.path().join("clone");
    assert_eq!(must(&clone, &["symbolic-ref", "--short", "HEAD"]), "trunk");
    assert_eq!(std::fs::read_to_string(clone.join("README.md")).unwrap(), "hello\n");
    assert!(must(&clone, &["ls-files", "--stage", "bin/run"]).starts_with("100755"));
    assert_eq!(must(&clone, &["log", "--format=%s"]), "Initial commit");
}

#[test]
fn a_private_repository_is_cloned_by_those_who_may_see_it() {
    let world = world();
    let nobody = world.try_clone(None, "octo/secret.git");
    assert!(!nobody.ok && nobody.words.contains("could not read Username"), "{}", nobody.words);
    let reader = world.try_clone(Some("reader"), "octo/secret.git");
    assert!(!reader.ok && reader.words.contains("not found"), "{}", reader.words);
    let unknown = world.try_clone(Some("octo"), "octo/never.git");
    assert!(!unknown.ok && unknown.words.contains("not found"), "{}", unknown.words);
    let wrong = world.try_clone(Some("wrong"), "octo/secret.git");
    assert!(!wrong.ok && wrong.words.contains("Authentication failed"), "{}", wrong.words);
    assert!(world.try_clone(Some("octo"), "octo/secret.git").ok);
}

#[test]
fn pushing_needs_write_access() {
    let world = world();
    let clone = world.clone_as("reader");
    commit(&clone, "a.txt", b"a");
    let push = |who| git(&clone, &["push", &world.url(who, "octo/app.git"), "HEAD:topic"]);
    let nobody = push(None);
    assert!(!nobody.ok && nobody.words.contains("could not read Username"), "{}", nobody.words);
    let refused = push(Some("reader"));
    assert!(!refused.ok && refused.words.contains("403"), "{}", refused.words);
    world.hub.set_role("octo/app", "reader", Role::Write).unwrap();
    let taken = push(Some("reader"));
    assert!(taken.ok, "{}", taken.words);
    world.hub.set_archived("octo/app", true).unwrap();
    commit(&clone, "a.txt", b"b");
    assert!(!push(Some("octo")).ok);
}

#[test]
fn a_large_push_arrives_whole() {
    let world = world();
    let clone = world.clone_as("octo");
    // Does not compress, so that git sends it in chunks.
    let mut seed = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    })
    .take(3 << 20)
    .collect();
    commit(&clone, "noise.bin", &noise);
    must(&clone, &["push", "--quiet", "origin", "HEAD:big"]);
    let sha = must(&clone, &["rev-parse", "HEAD"]);
    let bare = world.hub.repo_dir("octo/app").unwrap();
    assert_eq!(must(&bare, &["rev-parse", "refs/heads/big"]), sha);
    must(&bare, &["fsck", "--strict"]);
    let chunked = |e: &claude_workers::fakehub::Exchange| {
        e.header("transfer-encoding") == Some("chunked") && e.status == Some(200)
    };
    assert!(world.hub.exchanges().iter().any(chunked));
}

#[test]
fn a_compressed_request_is_understood() {
    let world = world();
    let clone = world.clone_as("octo");
    // Commits that the server lacks, newer than its own, make a long list of what the client has.
    let commit = |n| {
        format!(
            "commit refs/heads/topic-{n}\ncommitter A <a@example.com> 19000000{n:02} +0000\n\
             data 1\nx\n\n"
        )
    };
    let history: Vec<String> = (0..60).map(commit).collect();
    assert_cmd::Command::new("git")
        .current_dir(&clone)
        .args(["fast-import", "--quiet"])
        .write_stdin(history.concat())
        .assert()
        .success();
    let bare = world.hub.repo_dir("octo/app").unwrap();
    let old = must(&bare, &["rev-parse", "refs/heads/trunk"]);
    let new = commit_on_top(&world.hub, "octo/app", &old, "new\n");
    must(&bare, &["update-ref", "refs/heads/trunk", &new]);
    must(&clone, &["fetch", "--quiet"]);
    assert_eq!(must(&clone, &["rev-parse", "origin/trunk"]), new);
    let compressed = |e: &claude_workers::fakehub::Exchange| {
        e.header("content-encoding") == Some("gzip") && e.status == Some(200)
    };
    assert!(world.hub.exchanges().iter().any(compressed));
}

#[test]
fn a_protected_branch_refuses_pushes() {
    let world = world();
    let clone = world.clone_as("octo");
    commit(&clone, "a.txt", b"a");
    world.hub.refuse_pushes("octo/app", "issue-1").unwrap();
    let push =
        |branch: &str| git(&clone, &["push", "origin", &format!("HEAD:refs/heads/{branch}")]);
    let refused = push("issue-1");
    assert!(!refused.ok && refused.words.contains("GH006"), "{}", refused.words);
    assert!(push("issue-2").ok);
    world.hub.accept_pushes("octo/app").unwrap();
    assert!(push("issue-1").ok);
}

#[test]
fn a_renamed_repository_is_found_under_its_old_name() {
    let world = world();
    world.hub.rename_repo("octo/app", "octo/tool").unwrap();
    let clone = world.clone_as("octo");
    assert!(clone.join("README.md").exists());
}

#[test]
fn a_push_can_fail_before_or_after_it_took_effect() {
    let world = world();
    let clone = world.clone_as("octo");
    commit(&clone, "a.txt", b"a");
    let bare = world.hub.repo_dir("octo/app").unwrap();
    let there = || git(&bare, &["rev-parse", "--verify", "refs/heads/topic"]).ok;
    world.hub.inject(Fault::answer("POST", "/git-receive-pack", 503));
    assert!(!git(&clone, &["push", "origin", "HEAD:refs/heads/topic"]).ok);
    assert!(!there());
    world.hub.inject(Fault::drop_connection("POST", "/git-receive-pack").applied());
    assert!(!git(&clone, &["push", "origin", "HEAD:refs/heads/topic"]).ok);
    assert!(there());
}
