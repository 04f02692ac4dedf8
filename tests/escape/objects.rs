//! Commits. They are the one thing of an agent's that the host takes over, so they are taken over as
//! a server takes a push, and looked at before they are published. The other side: a plain push
//! from the clone takes them as they are.

use claude_workers::domain::Outcome;

use crate::stage::{Stage, TREASURE, host, jailed, open};
use crate::world::{APP, TRUNK};

pub struct Hostile {
    pub name: &'static str,
    /// Makes `tree`, or `commit` itself.
    make: &'static str,
    /// What the refusal names.
    named: &'static str,
}

const fn h(name: &'static str, make: &'static str, named: &'static str) -> Hostile {
    Hostile { name, make, named }
}

pub const TRIES: &[Hostile] = &[
    h(
        "a-.git-directory",
        "sub=$(entry 100644 blob $blob config); tree=$(entry 040000 tree $sub .git)",
        "hasDotgit",
    ),
    h("a-.git-of-windows", "tree=$(entry 100644 blob $blob git~1)", "hasDotgit"),
    h("the-directory-above", "sub=$(entry 100644 blob $blob x); tree=$(entry 040000 tree $sub ..)", "hasDotdot"),
    h(
        "a-submodule-in-git's-own-files",
        "blob=$(printf '[submodule \"../../hooks\"]\\n\\tpath = a\\n\\turl = https://x.example/a\\n' | git hash-object -w --stdin)
        tree=$(entry 100644 blob $blob .gitmodules)",
        "gitmodulesName",
    ),
    h(
        "a-submodule-that-is-an-option",
        "blob=$(printf '[submodule \"a\"]\\n\\tpath = a\\n\\turl = -u./payload\\n' | git hash-object -w --stdin)
        tree=$(entry 100644 blob $blob .gitmodules)",
        "gitmodulesUrl",
    ),
    h("submodules-behind-a-link", "tree=$(entry 120000 blob $blob .gitmodules)", "gitmodulesSymlink"),
    h(
        "a-workflow-behind-a-replacement",
        "sub=$(entry 100644 blob $blob evil.yml); sub=$(entry 040000 tree $sub workflows)
        tree=$(entry 040000 tree $sub .github)
        commit=$(git commit-tree -p HEAD -m more $tree)
        git replace $commit $(git commit-tree -p HEAD -m more HEAD^{tree})",
        ".github/workflows/evil.yml",
    ),
    h(
        "a-billion-files",
        "tree=$(entry 100644 blob $blob file)
        for level in 1 2 3 4 5 6 7 8 9; do
            tree=$(for n in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\\t%s\\n' $tree $n; done | git mktree)
        done",
        "cannot be looked at",
    ),
    h(
        "a-file-that-unpacks-to-much",
        "blob=$(head -c 60000000 /dev/zero | git hash-object -w --stdin); tree=$(entry 100644 blob $blob big)",
        "bring 60",
    ),
];

#[test]
fn commits_that_mean_harm_are_not_taken_over() {
    let stage = Stage::new(&jailed());
    let world = &stage.world;
    let scratch = stage.at("scratch.git");
    let scratch = scratch.to_str().unwrap();
    host("git", &["init", "-q", "--bare", "--template=", scratch]);
    for Hostile { name, make, named } in TRIES {
        stage.agent(&format!(
            "entry() {{ printf '%s %s %s\\t%s\\n' \"$@\" | git mktree; }}
            blob=$(echo evil | git hash-object -w --stdin); commit=
            {make}
            test -n \"$commit\" || commit=$(git commit-tree -p HEAD -m more $tree)
            git checkout -q --detach; git update-ref refs/heads/issue-$issue $commit"
        ));
        let issue = world.issue(name);
        world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string(), "-w", "01"]).ok();
        world.quiet();
        let run = world.last_run();
        let why = run.ended.as_ref().unwrap().why.clone();
        assert_ne!(run.outcome(), Some(Outcome::Succeeded), "{name}");
        assert!(why.contains(named), "{name}: {why}");
        let clone = stage.clone_dir();
        let refspec = format!("refs/heads/issue-{issue}:refs/heads/{issue}");
        host("git", &["-C", clone.to_str().unwrap(), "push", "-q", scratch, &refspec]);
    }
    assert_eq!(
        crate::stage::refs(world, APP)
            .iter()
            .filter(|r| r.starts_with("refs/heads/issue-"))
            .count(),
        0
    );
    assert!(world.pulls().is_empty());
}

/// A clone may borrow objects from anywhere; in the jail there is nothing but its own mirror.
#[test]
fn objects_of_another_repository_are_not_borrowed() {
    for (config, published) in [(jailed(), false), (open(), true)] {
        let stage = Stage::new(&config);
        let world = &stage.world;
        let other = stage.mirror().with_file_name("other.git");
        let other = other.to_str().unwrap();
        host("git", &["init", "-q", "--bare", "--template=", other]);
        let notes = format!("{other}/notes");
        let blob = host("git", &["--git-dir", other, "hash-object", "-w", &notes]);
        stage.agent(&format!(
            "echo {other}/objects >>.git/objects/info/alternates
            tree=$(printf '100644 blob {blob}\\tstolen\\n' | git mktree --missing)
            git update-ref HEAD $(git commit-tree -p HEAD -m more $tree)"
        ));
        let issue = world.issue("One");
        world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string(), "-w", "01"]).ok();
        world.quiet();
        let pulls = world.pulls();
        assert_eq!(pulls.len(), usize::from(published), "{:?}", world.last_run());
        if let [pull] = &pulls[..] {
            let diff = world.hub.pull_diff(APP, pull.number).unwrap();
            assert!(diff.contains(TREASURE), "{diff}");
        }
        assert!(!crate::stage::refs(world, APP).contains(&TRUNK.to_owned()));
    }
}
