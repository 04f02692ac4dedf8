//! Completions, asked of the real shells.

use std::fs;
use std::path::PathBuf;

use crate::queries::of_each_state;
use crate::words::Said;
use crate::world::{APP, Config, World};

/// A world and a directory for its scripts, in whose `bin` the program is, under both its names.
struct Shells {
    world: World,
    dir: PathBuf,
}

impl Shells {
    fn new(world: World) -> Self {
        let dir = world.dir.join("shells");
        fs::create_dir_all(dir.join("bin")).unwrap();
        for name in ["claude-workers", "cw"] {
            let program = env!("CARGO_BIN_EXE_claude-workers");
            std::os::unix::fs::symlink(program, dir.join("bin").join(name)).unwrap();
        }
        let shells = Self { world, dir };
        for shell in ["bash", "zsh", "fish"] {
            for name in ["claude-workers", "cw"] {
                let script = shells.world.cron(&["completions", shell, "--name", name]).ok().out;
                fs::write(shells.script(shell, name), script).unwrap();
            }
        }
        shells
    }

    fn script(&self, shell: &str, name: &str) -> PathBuf {
        self.dir.join(format!("{shell}-{name}"))
    }

    fn run(&self, shell: &str, args: &[&str]) -> Said {
        let path = format!("{}:/usr/bin:/bin", self.dir.join("bin").display());
        let mut shell = assert_cmd::Command::new(shell);
        shell.env_clear().env("HOME", self.world.user_home()).env("PATH", path);
        shell.env("LC_ALL", "C.UTF-8").current_dir(&self.dir);
        Said::of(&shell.args(args).timeout(std::time::Duration::from_mins(1)).output().unwrap())
    }

    /// What bash makes of Tab after these words, the last of which is being written. `kind` is
    /// readline's: 9 completes, 63 lists.
    fn bash(&self, kind: u8, words: &[&str]) -> Vec<String> {
        let ask = "set -u; source \"$1\"; name=$2; COMP_TYPE=$3; shift 3
            COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1))
            complete -p \"$name\" >/dev/null
            [[ $(complete -p \"$name\") =~ -F\\ ([a-z_]+) ]]
            \"${BASH_REMATCH[1]}\" \"$name\" \"${!#}\" ''
            for reply in ${COMPREPLY[@]+\"${COMPREPLY[@]}\"}; do printf '%s\\n' \"$reply\"; done";
        let script = self.script("bash", words[0]);
        let kind = kind.to_string();
        let args = ["--norc", "-c", ask, "bash", script.to_str().unwrap(), words[0], &kind];
        lines(&self.run("bash", &[&args[..], words].concat()).ok().out)
    }

    /// What fish offers for this line, each with its description.
    fn fish(&self, name: &str, line: &str) -> Vec<String> {
        let ask = "source $argv[1]; complete -C $argv[2]";
        let script = self.script("fish", name);
        let args = ["--no-config", "-c", ask, script.to_str().unwrap(), line];
        lines(&self.run("fish", &args).ok().out)
    }

    /// What an interactive zsh shows after `keys`, up to `until`.
    fn zsh(&self, name: &str, keys: &str, until: &str) -> String {
        let ask = "zmodload zsh/zpty
            zpty shell zsh -f -i
            zpty -w shell \"PS1='READY> '; autoload -Uz compinit; compinit -u -D; source $1
                show() { print -r -- \\\"[\\$BUFFER]\\\" }; zle -N show; bindkey '^X' show; print DO''NE\"
            zpty -r shell seen $'*DONE\\r\\n*READY> '
            zpty -n -w shell $2
            zpty -r shell seen \"*$3*\"
            print -r -- $seen";
        let script = self.script("zsh", name);
        self.run("zsh", &["-f", "-c", ask, "zsh", script.to_str().unwrap(), keys, until]).ok().out
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_what_the_disk_knows() {
    let shells = Shells::new(of_each_state());
    let values = |words: &[&str]| shells.bash(9, words);
    let named = |rest: &[&str]| values(&[&["claude-workers"], rest].concat());
    assert_eq!(named(&["rest"]), ["restart"]);
    assert_eq!(named(&["status", ""]), ["01", "02", "03", "04"]);
    assert_eq!(named(&["status", "0"]).len(), 4);
    // Busy ones first, then those that are left; none that cannot be meant.
    assert_eq!(named(&["stop", ""]), ["02", "03"]);
    assert_eq!(named(&["reset", ""]), ["03", "02"]);
    assert_eq!(named(&["restart", ""]), ["03"]);
    assert_eq!(named(&["watch", ""]), ["02"]);
    assert!(!named(&["watch", "02", ""]).contains(&"02".to_owned()), "it is there already");
    assert_eq!(named(&["dispatch", "-w", ""]), ["01"]);
    assert!(named(&["init", ""]).iter().all(|word| word.starts_with("--")));
    assert_eq!(named(&["dispatch", "-r", ""]), [APP]);
    assert_eq!(named(&["history", "--repo", "octo"]), [APP]);
    assert_eq!(named(&["dispatch", "-e", ""]), ["claude", "agent"]);
    assert_eq!(named(&["dispatch", "-m", "o"]), ["opus"]);
    assert_eq!(named(&["history", "--outcome", "s"]), ["succeeded", "stopped"]);
    // To bash the equals sign is a word.
    assert_eq!(named(&["history", "--outcome", "=", "fa"]), ["failed"]);
    assert_eq!(named(&["status", "--js"]), ["--json"]);
    assert_eq!(named(&["completions", "f"]), ["fish"]);
    assert_eq!(named(&["dispatch", "--kind", "r"]), ["report"]);
    assert_eq!(values(&["cw", "stop", ""]), ["02", "03"]);

    let shown = shells.bash(63, &["claude-workers", "stop", ""]);
    assert!(shown[0].starts_with("02  (busy, octo/app, "), "{shown:?}");
    assert!(shown[1].starts_with("03  (crashed, octo/app#1, "), "{shown:?}");
    assert!(!shown.concat().contains('\u{1b}'), "a title is somebody else's words");
    assert_eq!(shells.world.asked_lines(), [""; 0], "nobody was asked but the disk");
}

#[test]
fn fish_completes_what_the_disk_knows() {
    let shells = Shells::new(of_each_state());
    let offered = shells.fish("claude-workers", "claude-workers stop ");
    assert!(offered[0].starts_with("02\tbusy, octo/app, "), "{offered:?}");
    assert!(offered[1].starts_with("03\tcrashed, octo/app#1, "), "{offered:?}");
    assert_eq!(offered.len(), 2);
    assert_eq!(shells.fish("cw", "cw dispatch --worker="), ["--worker=01\tidle"]);
    assert_eq!(shells.fish("cw", "cw dispatch -r o"), ["octo/app\tconfigured"]);
    let commands = shells.fish("claude-workers", "claude-workers st");
    assert_eq!(commands.len(), 2, "{commands:?}");
}

#[test]
fn zsh_completes_what_the_disk_knows() {
    let shells = Shells::new(of_each_state());
    let line = |keys: &str, wanted: &str| {
        let seen = shells.zsh(keys.split(' ').next().unwrap(), &format!("{keys}\t\u{18}"), "\\]");
        assert!(seen.contains(wanted), "{wanted:?} after {keys:?}: {seen:?}");
    };
    line("claude-workers restart ", "[claude-workers restart 03 ]");
    line("cw dispatch -w ", "[cw dispatch -w 01 ]");
    line("cw hist", "[cw history ]");
    let home = shells.world.user_home();
    line(
        &format!("cw --root {}/work", home.display()),
        &format!("[cw --root {}/workers/]", home.display()),
    );
    let list = shells.zsh("claude-workers", "claude-workers stop 0\t", "crashed, octo/app#1");
    assert!(list.contains("02  -- busy, octo/app, "), "{list:?}");
}

#[test]
fn root_and_configuration_on_the_line_are_those_that_are_asked() {
    let other =
        World::with(&Config { top: "repos = ['octo/other']", ..Config::default() }, &["77"]);
    let shells = Shells::new(World::new());
    let root = other.root.path().to_str().unwrap();
    let config = other.config_file();
    let config = config.to_str().unwrap();
    assert_eq!(shells.bash(9, &["cw", "--root", root, "status", ""]), ["77"]);
    assert_eq!(shells.bash(9, &["cw", "--root", "=", root, "status", ""]), ["77"]);
    assert_eq!(shells.bash(9, &["cw", "status", "--root", "~/workers", ""]), ["01"]);
    assert_eq!(shells.bash(9, &["cw", "dispatch", "--config", config, "-r", ""]), ["octo/other"]);
    assert_eq!(shells.fish("cw", &format!("cw --root={root} status ")), ["77\tidle"]);
    let seen = shells.zsh("cw", &format!("cw --root '{root}' status \t\u{18}"), "\\]");
    assert!(seen.contains("status 77 ]"), "{seen:?}");
}

#[test]
fn nothing_is_said_where_nothing_is_known() {
    let shells = Shells::new(World::new());
    let silent = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let args = [&["complete", "bash", &index, "--"], words].concat();
        let said = shells.world.cron(&args).ok();
        assert_eq!(said.err, "", "{words:?}");
        said.out
    };
    assert_eq!(silent(&["cw", "status", ""]), "01\n");
    assert_eq!(silent(&["cw", "--root", "/nowhere", "logs", ""]).matches("01").count(), 0);
    assert_eq!(silent(&["cw", "nonsense", "--", "x"]), "");
    fs::write(shells.world.config_file(), "not = [toml").unwrap();
    assert_eq!(silent(&["cw", "dispatch", "-r", ""]).matches(APP).count(), 0);
    assert_eq!(silent(&["cw", "hist"]), "history\n", "commands are known all the same");
    // An index beyond the line, and bytes that are no text.
    shells.world.cron(&["complete", "zsh", "9", "--", "cw"]).ok();
    shells.world.cron(&["complete", "zsh", "1", "--", "cw"]).ok().says("history:Show ");
    let mut raw = shells.world.program();
    raw.args(["complete", "fish", "1", "--", "cw"]);
    raw.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe"));
    raw.assert().success();
}

#[test]
fn a_name_that_a_shell_would_run_is_refused() {
    let world = World::bare(&Config::default());
    for bad in ["a b", "$(id)", "-x", "", "x;y", "a/b"] {
        world.cron(&["completions", "bash", &format!("--name={bad}")]).exits(2);
    }
}
