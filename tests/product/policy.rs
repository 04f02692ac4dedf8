//! What of an agent's commits is published, and what becomes of the rest.

use std::fs;

use claude_workers::domain::Outcome;

use crate::world::{APP, Config, World, app};

fn limited(allowed: &str) -> World {
    let publish =
        format!("[publish]\nmax_files = 3\nmax_bytes = 100000\nallow_protected = [{allowed}]");
    let world =
        World::bare(&Config { assign: "max_per_repo = 9", more: publish, ..Config::default() });
    world.hub.add_repo(&app().file(".github/workflows/ci.yml", "on: push\n")).unwrap();
    world.init(&["01"]);
    world
}

/// What an agent does, and how the refusal begins and what it names.
const REFUSED: &[(&str, &str)] = &[
    ("mkdir -p .github/workflows; commit .github/workflows/evil.yml x", "- .github/workflows/evil.yml"),
    ("git mv .github/workflows/ci.yml ci.yml; git commit -qm moved", "- .github/workflows/ci.yml"),
    ("mkdir -p .GitHub/Actions/a; commit .GitHub/Actions/a/action.yml x", "- .GitHub/Actions/a"),
    ("mkdir docs; commit docs/CODEOWNERS '* @evil'", "- docs/CODEOWNERS"),
    ("ln -s /tmp .claude; git add -A; git commit -qm link", "- .claude"),
    (
        "git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub/.codex; git commit -qm m",
        "- sub/.codex",
    ),
    ("mkdir sub; commit sub/.mcp.json '{}'", "- sub/.mcp.json"),
    (
        "printf '[submodule \"a\"]\\npath = a\\nurl = http://10.0.0.1/a\\n' >.gitmodules; git add -A
         git commit -qm m",
        "- http://10.0.0.1/a",
    ),
    ("for n in 1 2 3 4; do echo $n >f$n; done; git add -A; git commit -qm many", "4 files are changed"),
    (
        "head -c 150000 /dev/urandom >big; git add -A; git commit -qm big; git rm -q big
         commit small x",
        "bring 150",
    ),
];

#[test]
fn what_is_protected_or_too_much_is_not_published_and_explained_once() {
    let world = limited("");
    for (script, named) in REFUSED {
        world.agent(&format!("{script}; echo 'All done.'"));
        let issue = world.issue("Something");
        world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string()]).ok();
        world.quiet();
        let run = world.last_run();
        assert_eq!(run.outcome(), Some(Outcome::Deferred), "{script}");
        let [comment] = world.comments(issue).try_into().unwrap();
        assert!(comment.contains("not published: ") && comment.contains(named), "{comment}");
        let guarded = named.starts_with('-');
        assert_eq!(comment.contains("allow_protected = [\"octo/app\"]"), guarded, "{comment}");
        assert_eq!(world.labels(issue), ["worker:01", "blocked"]);
        let kept = world.root.record(&run.worker).completed();
        let name = format!("octo-app-unpublished-{}.patch", run.run);
        assert!(comment.contains(&name), "{comment}");
        assert!(fs::read(kept.join(name)).unwrap().starts_with(b"diff --git"));
        world.cron(&["show", run.run.as_str()]).ok().says("unpublished");
    }
    world.cron(&["history"]).ok().says("not published: protected paths are changed");
    assert!(world.pulls().is_empty());
    let refs = world.hub.repo_dir(APP).unwrap().join("refs/heads");
    let names: Vec<_> = fs::read_dir(refs).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("issue-")), "{names:?}");
}

#[test]
fn protected_paths_are_published_where_the_user_said_so() {
    let world = limited("'octo/*'");
    world.agent("mkdir -p .claude; commit .claude/x y; commit .github/workflows/more.yml z");
    world.issue("One");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    let diff = world.hub.pull_diff(APP, world.pulls()[0].number).unwrap();
    assert!(diff.contains(".claude/x") && diff.contains("more.yml"), "{diff}");
    // A limit is no protection.
    world.agent("for n in 1 2 3 4; do echo $n >f$n; done; git add -A; git commit -qm many");
    world.issue("Two");
    world.tick();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Deferred));
}
