//! What a home keeps from one run to the next, and what of it the next run sees.

use std::fs;
use std::path::Path;
use std::process::Command;

use claude_workers::domain::Outcome;
use claude_workers::fakehub::NewRepo;

use crate::mounts::Mount;
use crate::world::{APP, Config, World, files};

fn broker() -> Config {
    Config { credentials: "mode = 'broker'", ..Config::default() }
}

/// Everything that the program takes for a credential, of whatever kind of file.
const PLANTS: &str = "cd $HOME; mkdir -p .ssh .config/gh .config/hub/inner
    echo 'machine github.com password planted' >.netrc
    ln -s /etc/passwd .git-credentials
    echo 'oauth_token: planted' >.config/gh/hosts.yml
    echo planted >.config/hub/inner/file
    mkfifo .config/git/credentials
    for n in 1 2 3; do echo 'PRIVATE KEY-----' >.ssh/id_$n; done
    printf '[credential]\\n\\thelper = !touch planted\\n' >.gitconfig
    chmod 500 .config/hub .config/gh .ssh; echo laid";

const PLANTED: [&str; 7] = [
    ".netrc",
    ".git-credentials",
    ".config/gh/hosts.yml",
    ".config/hub",
    ".config/git/credentials",
    ".ssh",
    ".gitconfig",
];

#[test]
fn what_an_agent_leaves_in_the_way_of_a_credential_is_gone_at_the_next_run_which_goes_on() {
    let world = World::with(&broker(), &["01"]);
    let quarantine = world.root.record(&"01".parse().unwrap()).quarantine();
    let there = |path: &str| fs::symlink_metadata(world.home("01").join(path)).is_ok();
    for nth in 0..2 {
        world.says(PLANTS);
        assert!(PLANTED.iter().all(|path| there(path)));
        world.cron(&["doctor"]).says(".config/gh/hosts.yml").says("the next run moves it out");
        let see = "ls -a $HOME $HOME/.ssh $HOME/.config/hub $HOME/.config/gh 2>/dev/null; \
                   git config --get-all credential.helper; echo seen";
        let said = world.says(see);
        for path in PLANTED {
            assert!(!there(path), "{path}");
            assert!(said.contains(&format!("claude-workers: {path} looked like a cred")), "{said}");
            assert!(fs::symlink_metadata(quarantine.join(path)).is_ok(), "{path}");
        }
        let agents = said.rsplit_once("claude-workers: ").unwrap().1;
        assert!(!agents.contains("id_1") && !agents.contains("touch planted"), "{agents}");
        assert!(!said.contains("password planted"), "{said}");
        // What was taken out is kept once, however often that happens.
        fs::write(quarantine.join("mark"), "").unwrap();
        assert_eq!(files(&quarantine).len(), 8, "in round {nth}");
    }
    // Nothing that is said where there is nothing to say.
    assert_eq!(world.says("echo seen"), "seen\n");
    world.cron(&["rm", "01", "-y"]).ok();
    let left = files(&world.root.pool().join(".retired"));
    let odd = |path: &Path| path.iter().any(|part| part == "quarantine" || part == "furniture.d");
    assert!(!left.is_empty() && !left.iter().any(|(path, _)| odd(path)), "{left:?}");
}

/// What cannot be moved from one disk to another at once is removed.
#[test]
fn a_home_on_a_disk_of_its_own_is_rid_of_planted_credentials_too() {
    let world = World::with(&Config { limits: "free_space = '1MiB'", ..broker() }, &["01"]);
    let (home, before) = (world.home("01"), world.dir.join("before"));
    fs::rename(&home, &before).unwrap();
    fs::create_dir(&home).unwrap();
    let Some(_disk) = Mount::new(&home, 64) else { return };
    #[expect(clippy::disallowed_methods, reason = "a person does it")]
    let copied = Command::new("cp").arg("-a").arg(before.join(".")).arg(&home).status().unwrap();
    assert!(copied.success());
    world.says(PLANTS);
    assert!(world.says("echo seen").contains(".config/hub looked like a credential"));
    for path in PLANTED {
        assert!(fs::symlink_metadata(home.join(path)).is_err(), "{path}");
    }
}

/// Lays settings that whatever is started in a home heeds: those that the home was made with, and
/// others.
const LAYS: &str =
    "cd $HOME; hook='{\"hooks\":{\"SessionStart\":[{\"hooks\":[{\"type\":\"command\",\
    \"command\":\"touch ~/hooked\"}]}]}}'
    echo \"$hook\" >.claude/settings.json; echo 'echo sourced >&2' >>.bashrc; rm .profile
    echo 'Push to trunk.' >.claude/CLAUDE.md; mkdir .zshenv.d; rm .zshenv; mv .zshenv.d .zshenv
    rm -r .config/git; ln -s /etc .config/git
    echo prefix=/evil >.npmrc; echo '{}' >.mcp.json; echo '{}' >.claude.json; echo mine >notes; echo laid";

/// Without credentials the home is as it was made, but for what is the agents' own; with copies of
/// them it is left alone, as people may have changed it by hand.
#[test]
fn settings_that_an_agent_changed_are_put_back_in_a_broker_home() {
    for (config, put_back) in [(broker(), true), (Config::default(), false)] {
        let world = World::with(&config, &["01"]);
        let home = world.home("01");
        let placed = [
            ".claude/settings.json",
            ".claude/CLAUDE.md",
            ".bashrc",
            ".profile",
            ".zshenv",
            ".config/git/config",
        ];
        let text = |path: &str| fs::read_to_string(home.join(path)).unwrap_or_default();
        let before = placed.map(text);
        let mode = |path: &Path| {
            use std::os::unix::fs::PermissionsExt;
            fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777).ok()
        };
        world.says(LAYS);
        assert!(placed.iter().zip(&before).all(|(path, before)| text(path) != *before));
        let said = world
            .says("cat $HOME/.claude/settings.json $HOME/notes $HOME/.npmrc; bash -c true 2>&1");
        assert!(said.contains("mine") && said.contains("prefix=/evil"), "{said}");
        assert_eq!(said.contains("hooked"), !put_back, "{said}");
        assert_eq!(said.contains("sourced"), !put_back, "{said}");
        for (path, before) in placed.iter().zip(&before) {
            assert_eq!(text(path) == *before, put_back, "{path}");
            let told = format!("claude-workers: {path} had been changed");
            assert_eq!(said.contains(&told), put_back, "{said}");
            assert!(!put_back || mode(&home.join(path)) == Some(0o600), "{path}");
        }
        // Nothing of it on the host.
        assert!(!home.join("hooked").exists() && mode(Path::new("/etc/config")).is_none());
        // By hand it is done for both.
        world.cron(&["refresh", "01"]).ok();
        assert!(placed.iter().zip(&before).all(|(path, before)| text(path) == *before));
    }
}

#[test]
fn a_run_sees_no_clone_but_its_own_and_each_is_there_again_when_it_is_its_turn() {
    let world = World::with(&Config { top: "repos = ['octo/*']", ..Config::default() }, &["01"]);
    for name in ["octo/vault", "other/vault"] {
        if let Some(("other", _)) = name.split_once('/') {
            world.hub.add_user("other").unwrap();
        }
        world.hub.add_repo(&NewRepo::new(name).file("vault.txt", "TREASURE\n")).unwrap();
    }
    let run = |repo: &str, agent: &str| {
        world.agent(agent);
        world.cron(&["dispatch", "-r", repo, "-p", "Look", "-w", "01"]).ok();
        world.quiet();
        assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded), "{:?}", world.last_run());
        world.cron(&["logs", "01"]).ok().out
    };
    for repo in ["octo/vault", "other/vault"] {
        assert_eq!(
            run(repo, "cat vault.txt; git config my.mark left; echo x >.git/kept"),
            "TREASURE\n"
        );
    }
    // Also not by way of what git runs while the clone is made ready for the next run.
    let peek = "git config filter.x.smudge \"ls -R $HOME/github >>$HOME/peeked; cat\"
        mkdir -p .git/info; echo '* filter=x' >.git/info/attributes; rm README.md; echo laid";
    let look = "find $HOME/github -name vault.txt; ls $HOME/github $HOME/github/*";
    let own = world.home("01").join("github/octo/app");
    let said = run(APP, &format!("{peek}\n{look}"));
    assert!(!said.contains("vault") && said.contains("octo") && said.contains("app"), "{said}");
    let said = run(APP, look);
    assert!(!said.contains("vault"), "{said}");
    let peeked = fs::read_to_string(world.home("01").join("peeked")).unwrap();
    assert!(peeked.contains("app") && !peeked.contains("vault"), "{peeked}");
    assert!(own.join(".git").is_dir());
    for repo in ["octo/vault", "other/vault"] {
        assert_eq!(run(repo, "git config my.mark; cat .git/kept"), "left\nx\n");
    }
}

/// A clone that cannot be used is set aside, and the agent is in the new one.
#[test]
fn an_agent_is_in_the_clone_that_was_made_in_the_place_of_a_broken_one() {
    let world = World::with(&Config::default(), &["01"]);
    let clone = world.root.clone_of(&"01".parse().unwrap(), &APP.parse().unwrap());
    for damage in [
        "rm -rf .git; echo leftover >leftover",
        "echo '[core' >.git/config",
        "cd ..; mkdir x; mv app x 2>/dev/null; rm -rf app; rm -rf $HOME/github; true",
    ] {
        world.says(&format!("{damage}; echo done"));
        assert_eq!(world.says("cat README.md; ls leftover 2>/dev/null; commit a$$ b"), "# app\n");
        assert!(clone.join("README.md").exists(), "{damage}");
    }
    // What is there is no directory, as somebody without a jail can make it.
    fs::remove_dir_all(world.home("01").join("github")).unwrap();
    std::os::unix::fs::symlink(world.user_home(), world.home("01").join("github")).unwrap();
    assert_eq!(world.says("cat README.md"), "# app\n");
    assert!(!world.user_home().join("octo").exists());
}

/// Git runs in the clone before the agent does, and with it what the clone's configuration names.
#[test]
fn what_a_filter_of_the_clone_writes_into_a_broker_home_is_gone_before_the_agent_comes() {
    let world = World::with(&broker(), &["01"]);
    world.says(
        "cat >$HOME/filter <<'END'
        cd $HOME; echo filtered >>ran; echo 'machine github.com password planted' >.netrc
        echo 'echo sourced >&2' >>.bashrc; cat
END
        git config filter.x.smudge \"sh $HOME/filter\"; git config filter.x.clean \"sh $HOME/filter\"
        echo '* filter=x' >.git/info/attributes; echo changed >README.md; echo laid",
    );
    let said = world.says("test -e ~/.netrc && echo FOUND; bash -c true 2>&1; echo seen");
    assert!(!said.contains("FOUND") && !said.contains("sourced\n"), "{said}");
    // It did run.
    assert_eq!(world.home("01").join("ran").exists(), said.contains(".netrc looked like a cred"));
}
