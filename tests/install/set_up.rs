//! `setup-vps`: what it makes, that it makes it once, and that it can take it away again.

use std::collections::BTreeMap;

use crate::vps::Vps;

/// Every file of the server: kind, mode, owner, where a link leads, and for what a set-up could
/// change the checksum. Left out: what the system itself writes while it runs, and the copies that
/// it makes of its lists of users.
fn files(vps: &Vps) -> BTreeMap<String, String> {
    let listed = vps.sh(
        r"cd /
        find / -xdev \( -path /srv -o -path /tmp -o -path /var/tmp -o -path /var/lib/systemd \
            -o -path /var/log/journal -o -path /var/lib/logrotate -o -path /var/cache \
            -o -path /var/lib/apt -o -path /etc/.pwd.lock \
            -o -regex '/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-' \
            -o -regex '/var/log/\(wtmp\|btmp\|lastlog\|faillog\)' \) -prune \
            -o -printf '%p\t%y %m %u %g %l\n'
        find /etc /home /opt /root /usr/local /var/lib/dpkg /var/spool -xdev -type f \
            ! -regex '/etc/.*-' -exec sha256sum {} + | sed 's/\([0-9a-f]*\)  \(.*\)/\2 (text)\t\1/'",
    );
    listed
        .lines()
        .map(|line| line.split_once('\t').unwrap_or((line, "")))
        .map(|(path, what)| (path.to_owned(), what.to_owned()))
        .collect()
}

/// The paths that differ.
fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let paths = before.keys().chain(after.keys());
    let differ = paths.filter(|path| before.get(*path) != after.get(*path));
    let mut differ: Vec<String> = differ.cloned().collect();
    differ.sort();
    differ.dedup();
    differ
}

const NOTHING: [&str; 0] = [];

/// All ways to tick: made, left alone when asked for again, and taken away without a trace.
fn comes_and_goes(tick: &str, its_files: &[&str]) {
    let vps = Vps::ready();
    let before = files(&vps);

    let said = vps.must_setup(&[tick, "--dry-run"]);
    assert!(said.contains("would make user worker"), "{said}");
    assert_eq!(changed(&before, &files(&vps)), NOTHING, "a dry run changes nothing");

    let said = vps.must_setup(&[tick]);
    assert!(said.contains("  ok  a sandbox can be made\n"), "{said}");
    assert!(said.contains("  - put a GitHub token, alone, into /home/worker/.config"), "{said}");
    let made = files(&vps);
    for (path, what) in [
        ("/usr/local/bin/claude-workers", "f 755 root root "),
        ("/usr/local/bin/cw", "f 755 root root "),
        ("/home/worker/.config/claude-workers", "d 700 worker worker "),
        ("/home/worker/.config/claude-workers/env", "f 600 worker worker "),
        ("/home/worker/.config/claude-workers/config.toml", "f 600 worker worker "),
        ("/home/worker/.ssh/authorized_keys", "f 600 worker worker "),
    ] {
        assert_eq!(made.get(path).map(String::as_str), Some(what), "{path}");
    }
    let told = [
        "/usr/local/share/man/man1/claude-workers.1",
        "/usr/local/share/man/man1/claude-workers-assign.1",
        "/usr/local/share/bash-completion/completions/claude-workers",
        "/usr/local/share/bash-completion/completions/cw",
    ];
    for path in told.iter().chain(its_files) {
        assert_eq!(made.get(*path).map(String::as_str), Some("f 644 root root "), "{path}");
    }
    let identity = vps.must(&["cat", "/home/worker/.gitconfig"]);
    assert!(identity.contains("name = Claude Worker") && identity.contains("worker@localhost"));

    let said = vps.must_setup(&[tick]);
    assert!(said.contains("All is in place: nothing was changed.\n"), "{said}");
    assert!(!said.contains("  do  "), "{said}");
    assert_eq!(changed(&made, &files(&vps)), NOTHING, "the second time changes nothing");

    vps.sh("mkdir /home/worker/workers && echo mine >/home/worker/workers/work");
    let said = vps.must_setup(&["--uninstall"]);
    assert!(said.contains("kept: /home/worker and /var/log/claude-workers"), "{said}");
    assert_eq!(vps.must(&["cat", "/home/worker/workers/work"]), "mine\n");
    let left = changed(&before, &files(&vps));
    let is_data = |path: &String| {
        let lists = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"];
        path.starts_with("/home/worker")
            || path == "/var/log/claude-workers"
            || lists.iter().any(|list| *path == format!("/etc/{list} (text)"))
    };
    assert!(left.iter().all(is_data), "{left:?}");

    vps.must_setup(&["--uninstall", "--purge"]);
    assert_eq!(changed(&before, &files(&vps)), NOTHING, "nothing of it is left");
    let said = vps.must_setup(&["--uninstall", "--purge"]);
    assert!(said.contains("There was nothing to remove.\n"), "{said}");
}

#[test]
fn a_server_with_cron_comes_and_goes() {
    comes_and_goes("--cron", &["/etc/cron.d/claude-workers", "/etc/logrotate.d/claude-workers"]);
}

#[test]
fn a_server_with_a_timer_comes_and_goes() {
    let units = ["claude-workers.service", "claude-workers.timer"];
    comes_and_goes(
        "--timer",
        &units.map(|unit| format!("/etc/systemd/system/{unit}").leak() as &str),
    );
}

#[test]
fn a_fresh_server_gets_what_it_lacks_and_works() {
    let vps = Vps::fresh();
    let said = vps.must_setup(&[]);
    assert!(said.contains("  do  install Debian packages: git bubblewrap"), "{said}");
    assert!(said.contains("  ok  a sandbox can be made\n"), "{said}");
    assert_eq!(vps.must(&["systemctl", "is-active", "cron"]), "active\n");
    let init = vps.cw().args(["init", "01"]).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let doctor = vps.run(&["cw", "doctor"]).out;
    for check in
        ["ok       git: ", "ok       sandbox: bubblewrap;", "ok       cron: */5 * * * * worker"]
    {
        assert!(doctor.contains(check), "{check}: {doctor}");
    }
    // From cron to a timer and back: never both.
    vps.must_setup(&["--timer"]);
    assert_eq!(vps.must(&["systemctl", "is-active", "claude-workers.timer"]), "active\n");
    assert!(
        vps.run(&["cw", "doctor"]).out.contains("ok       cron: systemd's claude-workers.timer")
    );
    vps.sh("! test -e /etc/cron.d/claude-workers");
    vps.must_setup(&["--cron"]);
    assert_eq!(vps.run(&["systemctl", "is-active", "claude-workers.timer"]).out, "inactive\n");
    vps.sh("! test -e /etc/systemd/system/claude-workers.timer");
}

#[test]
fn what_others_made_is_kept_and_what_is_open_is_closed() {
    let vps = Vps::ready();
    vps.sh("useradd --create-home --shell /bin/bash anna");
    let config = "# mine\nrepos = []\n";
    vps.write("/home/anna/.config/claude-workers/config.toml", config);
    vps.write("/home/anna/.config/claude-workers/token", "ghp_old\n");
    vps.sh("chown -R anna: /home/anna; chmod 644 /home/anna/.config/claude-workers/*");
    vps.sh("runuser -u anna -- git config --global user.name Anna");
    vps.write("/root/token", "ghp_new\n");
    let keys =
        vps.sh("cat /root/.ssh/authorized_keys; echo 'command=\"echo no\" ssh-ed25519 AAAA x'");
    vps.write("/root/.ssh/authorized_keys", &keys);

    let said = vps.must_setup(&["--user", "anna"]);
    let home = "/home/anna/.config/claude-workers";
    assert!(said.contains(&format!("  do  make {home}/token private\n")), "{said}");
    assert_eq!(vps.must(&["cat", &format!("{home}/token")]), "ghp_old\n");
    assert_eq!(vps.must(&["cat", &format!("{home}/config.toml")]), config);
    assert_eq!(vps.sh("cat /home/anna/.ssh/authorized_keys").lines().count(), 1);
    assert!(said.contains("  ok  git user.name: Anna\n"), "{said}");

    let said = vps.must_setup(&["--user=anna", "--token-file=/root/token", "--git-name=Other"]);
    assert!(said.ends_with("cw doctor\n") && said.contains("Changes: 1.\n"), "{said}");
    assert_eq!(vps.must(&["cat", &format!("{home}/token")]), "ghp_new\n");
    assert_eq!(
        vps.sh("stat -c '%U %a' /home/anna/.config/claude-workers/*"),
        "anna 600\n".repeat(3)
    );

    // Somebody else's file in a place of ours, and a user that was there before.
    vps.write("/etc/logrotate.d/claude-workers", "/var/log/mine {\n}\n");
    let said = vps.must_setup(&["--user=anna", "--uninstall", "--purge"]);
    assert!(said.contains("kept: /etc/logrotate.d/claude-workers is not of setup-vps"), "{said}");
    assert_eq!(vps.must(&["cat", "/etc/logrotate.d/claude-workers"]), "/var/log/mine {\n}\n");
    vps.sh("test -e /home/anna/.bashrc; ! test -e /home/anna/.config/claude-workers");
}

#[test]
fn ubuntus_restriction_of_namespaces_is_lifted_for_bubblewrap_only() {
    let vps = Vps::ready();
    vps.write("/usr/sbin/apparmor_parser", "#!/bin/sh\necho \"$@\" >>/var/tmp/parsed\n");
    vps.sh("chmod 755 /usr/sbin/apparmor_parser");
    let profile = "/etc/apparmor.d/bwrap";
    // As Ubuntu 24.04's kernel shows it; this one may not know it.
    let restricted = |words: &str| {
        vps.must(&[
            "unshare",
            "--mount",
            "sh",
            "-euc",
            &format!(
                "mount -t tmpfs tmpfs /proc/sys/kernel
                echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns
                /srv/install/setup-vps --binary /srv/claude-workers {words}"
            ),
        ])
    };
    vps.must_setup(&[]);
    vps.sh(&format!("! test -e {profile}"));
    let said = restricted("");
    assert!(said.contains("  do  load the AppArmor profile\n"), "{said}");
    assert!(
        vps.must(&["cat", profile]).contains("profile bwrap /usr/bin/bwrap flags=(unconfined)")
    );
    assert!(restricted("").contains("All is in place"));
    restricted("--uninstall");
    vps.sh(&format!("! test -e {profile}"));
    let loads = "--replace /etc/apparmor.d/bwrap\n--remove /etc/apparmor.d/bwrap\n";
    assert_eq!(vps.must(&["cat", "/var/tmp/parsed"]), loads);

    // A profile of the distribution's own is enough.
    let theirs = "profile bwrap /usr/bin/bwrap {\n}\n";
    vps.write("/etc/apparmor.d/bwrap-userns-restrict", theirs);
    assert!(restricted("").contains("  ok  AppArmor: there is a profile for bwrap\n"));
    vps.sh(&format!("! test -e {profile}"));
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_done() {
    let vps = Vps::ready();
    let before = files(&vps);
    let script = "/srv/install/setup-vps";
    for (words, code, error) in [
        (
            &["runuser", "-u", "nobody", "--", script][..],
            1,
            "error: only root can set up a server\n",
        ),
        (&[script, "--user", "root"], 2, "error: the workers need a user who is not root\n"),
        (&[script, "--user", "../x"], 2, "error: not a user name: ../x\n"),
        (&[script, "--repo", "x y/z"], 2, "error: not a repository: x y/z\n"),
        (&[script, "--frob"], 2, "error: what is --frob?\n"),
        (&[script, "--user"], 2, "error: --user wants a value\n"),
        (&[script, "--purge"], 2, "error: --purge goes with --uninstall\n"),
        (&[script, "--token-file", "/none"], 1, "error: /none cannot be read\n"),
        (&[script, "--binary", "/usr/bin/true"], 1, "error: /usr/bin/true does not run here\n"),
        (&[script], 1, "error: there is no program to install\n"),
    ] {
        let ran = vps.run(words);
        assert_eq!(ran.code, Some(code), "{words:?}: {ran:?}");
        assert!(ran.err.starts_with(error), "{words:?}: {ran:?}");
    }
    assert_eq!(changed(&before, &files(&vps)), NOTHING);
}

#[test]
fn without_a_program_it_is_built_from_the_checkout() {
    let vps = Vps::ready();
    vps.sh("mkdir -p /opt/checkout && cd /opt/checkout && cp -r /srv/install . && touch Cargo.toml
        cat >/usr/local/bin/cargo <<'END'
#!/bin/sh -eu
echo \"$PWD: $*\" >/var/tmp/built
mkdir -p target/release
cp /srv/claude-workers target/release
END
        chmod 755 /usr/local/bin/cargo");
    vps.must(&["/opt/checkout/install/setup-vps", "--no-tick"]);
    let built = vps.must(&["cat", "/var/tmp/built"]);
    assert!(
        built.starts_with("/opt/checkout: build ") && built.contains("--release --locked"),
        "{built}"
    );
    vps.must(&["cw", "--version"]);
}
