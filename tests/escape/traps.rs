//! What an agent leaves for somebody else to start: settings and hooks of its clone, and what shells
//! and git read in a home. Whoever works in there plainly starts it; the program never does on the
//! host, neither for the next run nor for any command.

use crate::stage::{Stage, host, jailed, plain};
use crate::world::APP;

/// What it is, how it is laid, and what springs it in a copy of the home `H` with the clone `C`.
/// `FIRE` shows on the host that it has.
pub const TRAPS: &[(&str, &str, &str)] = &[
    ("fsmonitor", "git config core.fsmonitor 'FIRE; false'", "git -C C status"),
    (
        "hook",
        "mkdir -p .git/hooks; program .git/hooks/post-checkout 'FIRE'",
        "git -C C -c core.hooksPath=C/.git/hooks checkout -q -b other",
    ),
    (
        "hooks-path",
        "mkdir $HOME/hooks; program $HOME/hooks/pre-commit 'FIRE'; git config core.hooksPath $HOME/hooks",
        "git -C C commit -q --allow-empty -m x",
    ),
    (
        "ssh-command",
        "git config core.sshCommand 'FIRE; false'",
        "git -C C fetch ssh://x@127.0.0.1/x",
    ),
    (
        "upload-pack",
        "git config remote.more.url $MIRROR; git config remote.more.uploadpack 'FIRE; git-upload-pack'",
        "git -C C fetch more",
    ),
    (
        "clean-filter",
        "git config filter.x.clean 'FIRE; cat'; mkdir -p .git/info
        echo '* filter=x diff=x' >.git/info/attributes",
        "echo x >C/new; git -C C add new",
    ),
    (
        "smudge-filter",
        "git config filter.x.smudge 'FIRE; cat'",
        "rm C/README.md; git -C C checkout README.md",
    ),
    ("text-conversion", "git config diff.x.textconv 'FIRE; cat'", "git -C C log -p"),
    ("external-diff", "git config diff.external 'FIRE'", "echo more >>C/README.md; git -C C diff"),
    ("alias", "git config alias.st '!FIRE'", "git -C C st"),
    (
        "credential-helper",
        "git config credential.helper '!FIRE #'",
        "printf 'protocol=https\\nhost=x.example\\n\\n' | git -C C credential fill",
    ),
    (
        "signing-program",
        "program $HOME/gpg 'FIRE'; git config gpg.program $HOME/gpg; git config commit.gpgSign true",
        "git -C C -c core.hooksPath=/dev/null commit -q --allow-empty -m x",
    ),
    (
        "editor",
        "git config core.editor 'FIRE #'",
        "git -C C -c core.hooksPath=/dev/null commit --no-gpg-sign --allow-empty",
    ),
    (
        "included-settings",
        "printf '[alias]\\n\\tinc = !FIRE\\n' >$HOME/more; git config include.path $HOME/more",
        "git -C C inc",
    ),
    (
        "embedded-repository",
        "git init -q --bare emb; git -C emb config core.bare false
        git -C emb config core.worktree ..; git -C emb config core.fsmonitor 'FIRE; false'",
        "git -C C/emb status",
    ),
    ("settings-of-the-home", "git config --global alias.home '!FIRE'", "cd H; HOME=H git home"),
    ("bash-start", "echo 'FIRE' >>$HOME/.bashrc", "BASH_ENV=H/.bashrc bash -c true"),
    ("login", "echo 'FIRE' >>$HOME/.profile", "HOME=H sh -lc true"),
    (
        "program-of-the-same-name",
        "mkdir -p $HOME/.local/bin; program $HOME/.local/bin/git 'FIRE; exec /usr/bin/git \"$@\"'",
        "PATH=H/.local/bin:$PATH git version",
    ),
];

#[test]
fn no_trap_in_a_home_or_a_clone_springs_on_the_host() {
    let stage = Stage::new(&jailed());
    let world = &stage.world;
    let fired = |name: &str| stage.at("fired").join(name);
    let mut agent =
        String::from("program() { printf '#!/bin/sh\\n%s\\n' \"$2\" >$1; chmod +x $1; }\n");
    for (name, lay, _) in TRAPS {
        agent.push_str(&lay.replace("FIRE", &format!("touch {}", fired(name).display())));
        agent.push('\n');
    }
    stage.agent(&format!("{agent}echo laid"));
    world.cron(&["dispatch", "-r", APP, "-p", "Lay traps", "-w", "01"]).ok();
    world.quiet();
    world.cron(&["logs", "01"]).ok().says("laid");
    let copy = stage.at("copy");
    let home = world.home("01");
    host("cp", &["-a", home.to_str().unwrap(), copy.to_str().unwrap()]);

    // The next run in there, and every command that looks at a home.
    world.agent("commit a b; echo uncommitted >c");
    world.issue("One");
    world.tick();
    assert_eq!(world.pulls().len(), 1, "{:?}", world.last_run());
    for words in [
        &["status"][..],
        &["todos"],
        &["inspect", "01"],
        &["show", "01"],
        &["logs", "01"],
        &["history"],
        &["gc"],
        &["refresh", "01"],
        &["reset", "01"],
        &["assign"],
    ] {
        world.cron(words);
    }
    let sprung: Vec<_> = TRAPS.iter().filter(|(name, ..)| fired(name).exists()).collect();
    assert!(sprung.is_empty(), "{sprung:?}");

    let clone = copy.join(stage.clone_dir().strip_prefix(&home).unwrap());
    for (name, _, spring) in TRAPS {
        let text = spring
            .replace("C/", &format!("{}/", clone.display()))
            .replace("-C C ", &format!("-C {} ", clone.display()))
            .replace("H/", &format!("{}/", copy.display()))
            .replace("cd H;", &format!("cd {};", copy.display()))
            .replace("HOME=H ", &format!("HOME={} ", copy.display()));
        let mut sh = plain("sh");
        sh.arg("-c").arg(&text).env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_NOSYSTEM", "1");
        let out = sh.env("GIT_CONFIG_COUNT", "0").output().unwrap();
        assert!(fired(name).exists(), "{name} is no trap: {text}: {out:?}");
    }
}

/// Where git writes and removes files is a setting of the clone, too.
#[test]
fn a_clone_that_claims_to_be_elsewhere_changes_nothing_there() {
    let stage = Stage::new(&jailed());
    let world = &stage.world;
    stage.agent("git config core.worktree $AWAY/cwd");
    world.cron(&["dispatch", "-r", APP, "-p", "Lead away", "-w", "01"]).ok();
    world.quiet();
    let copy = stage.at("copy");
    host("cp", &["-a", stage.clone_dir().to_str().unwrap(), copy.to_str().unwrap()]);
    world.agent("commit a b");
    world.issue("One");
    world.tick();
    assert_eq!(world.pulls().len(), 1);
    assert!(stage.at("cwd/treasure").exists() && !stage.at("cwd/README.md").exists());
    host("git", &["-C", copy.to_str().unwrap(), "checkout", "-qf", "HEAD"]);
    assert!(stage.at("cwd/README.md").exists());
}
