//! The embedded GitHub, met from outside: over HTTP, and with the real git.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/http.rs"]
mod http;
#[path = "../support/openapi.rs"]
mod openapi;

mod described;
mod git;
mod rest;
mod trouble;

use claude_workers::fakehub::FakeHub;

/// Makes a commit that sets `new.txt` in the bare repository, by git's plumbing. Returns its id.
fn commit_on_top(hub: &FakeHub, slug: &str, parent: &str, text: &str) -> String {
    let dir = hub.repo_dir(slug).unwrap();
    let git = |args: &[&str]| {
        let output = assert_cmd::Command::new("git")
            .current_dir(&dir)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
            .args(args)
            .write_stdin(text)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let blob = git(&["hash-object", "-w", "--stdin"]);
    let index = dir.join("index");
    git(&["read-tree", parent]);
    git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},new.txt")]);
    let tree = git(&["write-tree"]);
    std::fs::remove_file(index).unwrap();
    git(&["commit-tree", &tree, "-p", parent, "-m", "Add a file"])
}
