//! Files of the host. A run sees its home, the system and what the user added; everything else is to
//! be absent, not merely forbidden: what can be named can be raced, linked to and locked.

use std::fs;

use crate::stage::{Stage, TREASURE, Try, try_all};

const fn t(name: &'static str, script: &'static str) -> Try {
    Try::new(name, script)
}

fn changed(stage: &Stage) -> bool {
    fs::read_to_string(stage.mirror().join("planted")).unwrap_or_default() != TREASURE
}

pub const TRIES: &[Try] = &[
    // Of the other workers and of the pool: their work, and what the program believes.
    t("sibling-home", "grep -q TREASURE $ROOT/02/notes"),
    t("sibling-above", "grep -q TREASURE $HOME/../02/notes"),
    t("sibling-write", "mkdir -p $ROOT/02; echo x >$ROOT/02/dropped")
        .seen(|s| s.world.home("02").join("dropped").exists()),
    t("record", "grep -q running $POOL/01/task.json"),
    t("record-write", "mkdir -p $POOL/01/completed; echo x >$POOL/01/completed/dropped")
        .seen(|s| s.world.root.pool().join("01/completed/dropped").exists()),
    t("record-through-link", "grep -q running $HOME/task.json"),
    t("worker-lock", "test -e $POOL/01/lock && exec 9<>$POOL/01/lock"),
    t("assign-lock", "test -e $POOL/assign.lock && flock -n $POOL/assign.lock true"),
    t("control-directory", "grep -q TREASURE $POOL/02/notes"),
    t("run-log", "test -s $POOL/01/supervisor.log || test -e $POOL/01/worker.log"),
    // Of the user.
    t("ssh-key", "grep -q TREASURE $USER_HOME/.ssh/id_ed25519"),
    t("gh-configuration", "grep -q TREASURE $USER_HOME/.config/gh/hosts.yml"),
    t("netrc", "grep -q TREASURE $USER_HOME/.netrc"),
    t("shell-history", "grep -q TREASURE $USER_HOME/.bash_history"),
    t("own-configuration", "grep -q token_file $USER_HOME/.config/claude-workers/config.toml"),
    t("token-file", "grep -q ghp_ $USER_HOME/token"),
    t(
        "settings-for-the-next-run",
        "mkdir -p $USER_HOME/.claude; echo '{}' >$USER_HOME/.claude/settings.json",
    )
    .seen(|s| s.world.user_home().join(".claude/settings.json").exists()),
    // By other names.
    t(
        "relative",
        "grep -q TREASURE ../../../../../notes ../../../../../../../notes ../../../../../../notes",
    ),
    t(
        "proc-root-of-others",
        "cat /proc/1/root$TREASURE_FILE /proc/$VICTIM/root$TREASURE_FILE | grep -q TREASURE",
    ),
    t("proc-self-root", "grep -q TREASURE /proc/self/root/../../..$TREASURE_FILE"),
    t("proc-parents-root", "grep -q TREASURE /proc/$PPID/root$TREASURE_FILE"),
    t(
        "proc-cwd",
        "cat /proc/$VICTIM/cwd/treasure /proc/[0-9]*/cwd/../cwd/treasure | grep -q TREASURE",
    ),
    t("proc-fd", "cat /proc/$VICTIM/fd/77 /proc/[0-9]*/fd/77 | grep -q TREASURE"),
    t("symlink-absolute", "ln -s $TREASURE_FILE $HOME/link; grep -q TREASURE $HOME/link"),
    t(
        "symlink-relative",
        "ln -s ../../notes $HOME/up; ln -s ../../../notes $HOME/upper
        cat $HOME/up $HOME/upper | grep -q TREASURE",
    ),
    t("hard-link", "ln $TREASURE_FILE $HOME/hard && grep -q TREASURE $HOME/hard"),
    t("temporary-directory", "grep -q TREASURE $AWAY/treasure"),
    t("shared-memory-directory", "grep -q TREASURE $SHM"),
    t("unix-socket", "$T unix $AWAY/socket"),
    t("password-file", "test -r /etc/shadow").needs_root(),
    t("tls-keys", "cat /etc/ssl/private/* /etc/pki/tls/private/* | grep -q 'PRIVATE KEY'")
        .unproven("needs a key of the host"),
    t("block-devices", "ls /dev | grep -qE '^(sd|vd|nvme|loop|xvd|dm-)'"),
    // Of the home: what runs for other repositories have left there.
    t("clone-of-another", "grep -q TREASURE $HOME/github/octo/vault/notes"),
    t("clone-of-another-owner", "grep -q TREASURE $HOME/github/other/vault/notes"),
    t("clone-above", "grep -q TREASURE ../vault/notes"),
    t("clone-through-proc", "cat /proc/self/cwd/../vault/notes | grep -q TREASURE"),
    t("clone-by-search", "find $HOME -path '*/vault/notes' | grep -q notes"),
    t(
        "clones-moved-away",
        "mv $HOME/github $HOME/moved || exit 1
        grep -q TREASURE $HOME/moved/octo/vault/notes; got=$?
        mv $HOME/moved $HOME/github; exit $got",
    ),
    t(
        "clones-linked",
        "ln -s $HOME/github $HOME/linked; grep -q TREASURE $HOME/linked/octo/vault/notes",
    ),
    // What is there to be read, and not to be written.
    t("system-programs", "test -w /usr/bin && test -w /usr/lib").needs_root(),
    t("agents-program", "echo x >$AGENTS/dropped")
        .seen(|s| s.world.dir.join("agents/dropped").exists()),
    t("prompt", "echo more >>$prompt"),
    t("mirror", "echo x >$MIRROR/dropped").seen(|s| s.mirror().join("dropped").exists()),
    t(
        "mirror-hard-link",
        "chmod u+w $MIRROR/planted; ln $MIRROR/planted $HOME/planted
        echo x >>$HOME/planted",
    )
    .seen(changed),
    t("mirror-of-another", "grep -q TREASURE $MIRROR/../other.git/notes"),
];

#[test]
fn no_file_of_the_host_is_reached() {
    try_all(TRIES);
}
