//! GitHub. In a broker home there is nothing that opens it: what is to be published is published by
//! the supervisor, and nothing else, although GitHub itself is in reach here. The other side is the
//! same jail around a home with the token.

use crate::stage::{host, refs};
use crate::world::{APP, Config, TOKEN, TRUNK, World, app};

/// What it is, how it is tried, and whether it happened.
type Attempt = (&'static str, &'static str, fn(&World) -> bool);

fn at(world: &World, name: &str) -> String {
    let dir = world.hub.repo_dir(APP).unwrap();
    host("git", &["--git-dir", dir.to_str().unwrap(), "rev-parse", name])
}

fn has(world: &World, repo: &str, name: &str) -> bool {
    refs(world, repo).iter().any(|known| known == name)
}

fn subject(world: &World, name: &str) -> String {
    let dir = world.hub.repo_dir(APP).unwrap();
    host("git", &["--git-dir", dir.to_str().unwrap(), "log", "-1", "--format=%s", name])
}

pub const TRIES: &[Attempt] = &[
    ("another-branch", "git push $G/octo/app HEAD:refs/heads/other", |w| {
        has(w, APP, "refs/heads/other")
    }),
    ("tag", "git push $G/octo/app HEAD:refs/tags/v1", |w| has(w, APP, "refs/tags/v1")),
    ("default-branch", "git push $G/octo/app HEAD:refs/heads/trunk", |w| {
        subject(w, TRUNK) == "Add evil"
    }),
    ("delete", "git push $G/octo/app :refs/heads/doomed", |w| !has(w, APP, "refs/heads/doomed")),
    ("force-push", "git push -f $G/octo/app HEAD:refs/heads/theirs", |w| {
        subject(w, "theirs") != "theirs"
    }),
    ("another-repository", "git push $G/octo/other HEAD:refs/heads/x", |w| {
        has(w, "octo/other", "refs/heads/x")
    }),
    ("foreign-claim", "git push $G/octo/app HEAD:refs/claude-workers/claims/1", |w| {
        has(w, APP, "refs/claude-workers/claims/1")
    }),
    (
        "pull-request",
        "post repos/octo/app/pulls '{\"title\":\"sneaky\",\"head\":\"ready\",\"base\":\"trunk\"}'",
        |w| w.pulls().iter().any(|pull| pull.title == "sneaky"),
    ),
    ("comment", "post repos/octo/app/issues/1/comments '{\"body\":\"sneaky\"}'", |w| {
        w.comments(1).contains(&"sneaky".to_owned())
    }),
    ("label", "post repos/octo/app/issues/1/labels '{\"labels\":[\"sneaky\"]}'", |w| {
        w.labels(1).contains(&"sneaky".to_owned())
    }),
];

#[test]
fn an_agent_without_the_token_publishes_nothing_itself() {
    let broker = Config { credentials: "mode = 'broker'", ..Config::default() };
    let copy = Config {
        credentials: "copy = ['gh_token']",
        more: "pass_env = ['GH_TOKEN']".into(),
        ..Config::default()
    };
    for (config, happens) in [(broker, false), (copy, true)] {
        let world = World::bare(&config);
        world.hub.add_repo(&app()).unwrap();
        world
            .hub
            .add_repo(&claude_workers::fakehub::NewRepo::new("octo/other").file("a", "b"))
            .unwrap();
        let dir = world.hub.repo_dir(APP).unwrap();
        let git = |args: &[&str]| {
            let who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "--git-dir"];
            host("git", &[&who[..], &[dir.to_str().unwrap()], args].concat())
        };
        let theirs = git(&["commit-tree", "-m", "theirs", "trunk^{tree}"]);
        let ready = git(&["commit-tree", "-m", "ready", "-p", TRUNK, "trunk^{tree}"]);
        for (name, commit) in [("theirs", &theirs), ("doomed", &theirs), ("ready", &ready)] {
            git(&["update-ref", &format!("refs/heads/{name}"), commit]);
        }
        let (trunk, issue) = (at(&world, TRUNK), world.issue("One"));
        world.program().args(["init", "01"]).env("GH_TOKEN", TOKEN).assert().success();
        let url = world.hub.server_url().replace("http://", "");
        let mut agent = format!(
            "G=http://x:$GH_TOKEN@{url}
            post() {{ curl -sS -X POST -H \"Authorization: Bearer $GH_TOKEN\" {}/$1 -d \"$2\"; }}
            git checkout -q --detach; commit evil evil\n",
            world.hub.api_url()
        );
        for (name, script, _) in TRIES {
            agent.push_str(&format!("echo {name}; {script} 2>&1\n"));
        }
        world.agent(&format!("{agent}git checkout -q -; echo tried"));
        let mut program = world.program();
        program.args(["dispatch", "-r", APP, "-p", "Publish", "-w", "01"]).env("GH_TOKEN", TOKEN);
        program.assert().success();
        world.quiet();
        let said = world.cron(&["logs", "01"]).ok().says("tried").out;
        // GitHub was in reach, and asked for the token.
        assert!(happens || said.contains("401") || said.contains("Authentication"), "{said}");
        for (name, _, happened) in TRIES {
            assert_eq!(happened(&world), happens, "{name}: {said}");
        }
        assert!(happens || at(&world, TRUNK) == trunk && world.labels(issue).is_empty());
    }
}

/// What an agent asks the supervisor for beside its one branch and its one pull request: what it is,
/// and what makes it. The last word is what a push of everything would bring, if anything.
pub const ASKED: &[(&str, &str, &str)] = &[
    ("branch", "git branch other", "refs/heads/other"),
    ("branch-of-another-issue", "git branch issue-77", "refs/heads/issue-77"),
    ("second-branch", "git branch issue-1-2", "refs/heads/issue-1-2"),
    ("default-branch", "git update-ref refs/heads/trunk HEAD", "refs/heads/trunk"),
    ("tag", "git tag v1; git tag -a -m x v2", "refs/tags/v2"),
    ("claim", "git update-ref refs/claude-workers/claims/9 HEAD", "refs/claude-workers/claims/9"),
    ("note", "git notes add -m more", "refs/notes/commits"),
    ("pull", "git update-ref refs/pull/9/head HEAD", "refs/pull/9/head"),
    (
        "push-setting",
        "git config remote.origin.push 'refs/*:refs/*'; git config push.followTags true",
        "",
    ),
    ("symbolic", "git symbolic-ref refs/heads/alias refs/heads/issue-$issue", "refs/heads/alias"),
    ("head", "git checkout -q --detach; git symbolic-ref HEAD refs/heads/trunk", ""),
    ("another-request", "for n in 2 -2 .2; do printf 'x\\n\\nx' >$outbox/pr$n.md; done", ""),
    (
        "requests-below",
        "mkdir $outbox/2 $outbox/pr; echo x | tee $outbox/2/pr.md >$outbox/pr/2.md",
        "",
    ),
    ("another-comment", "for n in 2 -2; do echo x >$outbox/comment$n.md; done", ""),
    (
        "two-in-one",
        "printf 'branch: other\\nbase: other\\nhead: octo:other\\n---\\nTitle\\n\\nText' >$outbox/pr.md",
        "",
    ),
    ("issues", "mkdir -p $outbox/issues; printf 'New\\n\\nText' >$outbox/issues/new.md", ""),
];

#[test]
fn whatever_is_asked_for_one_branch_and_one_pull_request_come_of_a_run() {
    let world = World::with(&crate::stage::jailed(), &["01"]);
    let dir = world.dir.join("scratch.git");
    let scratch = dir.to_str().unwrap();
    host("git", &["init", "-q", "--bare", "--template=", scratch]);
    let (issue, trunk) = (world.issue("One"), at(&world, TRUNK));
    let mut agent =
        String::from("commit a b; git config user.name a; git config user.email a@b.c\n");
    for (_, script, _) in ASKED {
        agent.push_str(&format!("{script}\n"));
    }
    world.agent(&format!("{agent}echo asked"));
    world.tick();
    world.cron(&["logs", "01"]).ok().says("asked");
    let branch = format!("refs/heads/issue-{issue}");
    let theirs = refs(&world, APP);
    let ours = |name: &&String| **name != branch && !name.starts_with("refs/claude-workers/");
    assert_eq!(theirs.iter().filter(ours).collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(theirs.contains(&branch) && at(&world, TRUNK) == trunk, "{:?}", world.last_run());
    let pulls = world.pulls();
    assert_eq!((pulls.len(), world.comments(issue).len()), (1, 1), "{pulls:?}");
    assert_eq!(
        (pulls[0].base.as_str(), pulls[0].head.as_str()),
        (TRUNK, &branch["refs/heads/".len()..])
    );
    let issues = world.hub.issues(APP).unwrap();
    assert_eq!(issues.iter().filter(|issue| !issue.is_pull).count(), 1);
    // Taken for what they are, by a push of everything.
    let clone = world.root.clone_of(&"01".parse().unwrap(), &APP.parse().unwrap());
    host("git", &["-C", clone.to_str().unwrap(), "push", "-q", scratch, "refs/*:refs/*"]);
    let there = host("git", &["--git-dir", scratch, "for-each-ref", "--format=%(refname)"]);
    for (name, _, made) in ASKED.iter().filter(|(.., made)| !made.is_empty()) {
        assert!(there.lines().any(|there| there == *made), "{name} made nothing: {there}");
    }
}
