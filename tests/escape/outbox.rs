//! What an agent leaves to be read. Everything else of a home is the agent's business; the outbox is
//! carried out by the host, so what is in it must be a text and no way to somewhere else.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use claude_workers::domain::Outcome;
use nix::libc::O_NONBLOCK;

use crate::stage::{Stage, TREASURE, jailed, open};
use crate::world::APP;

/// What is left, and whether it is a trap for whoever reads it plainly.
type Left = (&'static str, &'static str, fn(&Path) -> bool);

fn leads_out(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains(TREASURE))
}

fn never_ends(path: &Path) -> bool {
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(path);
    let mut much = Vec::new();
    file.is_ok_and(|file| {
        file.take(1 << 20).read_to_end(&mut much).is_ok() && much.len() == 1 << 20
    })
}

fn is_too_large(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() >= 5 << 30)
}

/// As files that would be issues: there may be many of these in one run.
pub const LEFT: &[Left] = &[
    ("link-absolute", "ln -s $TREASURE_FILE F", leads_out),
    ("link-relative", "ln -s ../../../../../../../../../..$TREASURE_FILE F", leads_out),
    ("link-over-link", "ln -s / $HOME/top; ln -s $HOME/top$TREASURE_FILE F", leads_out),
    ("link-to-sibling", "ln -s ../../../02/notes F", leads_out),
    ("link-to-device", "ln -s /dev/zero F", never_ends),
    ("fifo", "mkfifo F", |path| fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo())),
    ("socket", "cd $outbox/issues; $T socket-file ${F##*/}", |path| {
        fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
    }),
    ("sparse", "truncate -s 5G F", is_too_large),
    ("directory", "mkdir F", Path::is_dir),
];

#[test]
fn nothing_but_texts_leaves_the_outbox() {
    let stage = Stage::new(&jailed());
    let mut agent = String::from("mkdir $outbox/issues\n");
    for (name, script, _) in LEFT {
        let file = format!("$outbox/issues/{name}.md");
        let script = script.replace(" F", &format!(" {file}"));
        agent.push_str(&format!("F={file}; ({script})\n"));
    }
    agent.push_str("printf '# An honest one\\n\\nIts text.\\n' >$outbox/issues/honest.md\n");
    stage.agent(&agent);
    stage.world.cron(&["dispatch", "-r", APP, "-p", "File", "--kind", "issues", "-w", "01"]).ok();
    stage.world.quiet();
    let run = stage.world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Succeeded), "{run:?}");
    let filed = stage.world.hub.issues(APP).unwrap();
    let titles: Vec<&str> = filed.iter().map(|issue| issue.title.as_str()).collect();
    assert_eq!(titles, ["An honest one"]);
    let notes = run.work.unwrap().notes.join("\n");
    for (name, _, is_a_trap) in LEFT {
        assert!(notes.contains(&format!("issues/{name}.md was left out")), "{name}: {notes}");
        let path = stage.world.home("01").join("outbox/issues").join(format!("{name}.md"));
        assert!(is_a_trap(&path), "{name} was no trap");
    }
    assert!(!notes.contains("TREASURE"), "{notes}");
}

/// A filter of the clone's runs when its files are compared, which is while the outbox is carried
/// out: the last moment at which something of the agent's can change what is there.
#[test]
fn what_runs_while_the_outbox_is_read_is_walled_in_too() {
    let (of_host, of_home) = ("$TREASURE_FILE", "$HOME/github/octo/vault/notes");
    for (config, file, tells) in [
        (jailed(), of_host, false),
        (jailed(), of_home, false),
        (open(), of_host, true),
        (open(), of_home, true),
    ] {
        let stage = Stage::new(&config);
        let issue = stage.world.issue("One");
        stage.agent(&format!(
            "git config filter.swap.clean \"cat {file} >$outbox/comment.md; cat\"
            mkdir -p .git/info; echo '* filter=swap' >.git/info/attributes
            echo mine >$outbox/comment.md
            sleep 1.1; touch README.md",
        ));
        stage.world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string(), "-w", "01"]).ok();
        stage.world.quiet();
        let said = stage.world.comments(issue).join("\n");
        assert_eq!(said.contains(TREASURE), tells, "{said}");
    }
}
