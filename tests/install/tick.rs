//! The tick of a server: by systemd's timer, and by cron.

use crate::vps::World;

#[test]
fn a_run_outlives_the_tick_of_the_timer() {
    let world = World::new("--timer");
    let vps = &world.vps;
    let next = vps.must(&[
        "systemctl",
        "show",
        "--property=NextElapseUSecRealtime",
        "claude-workers.timer",
    ]);
    assert!(next.trim().len() > "NextElapseUSecRealtime=".len(), "it never comes: {next}");
    let units = ["claude-workers.service", "claude-workers.timer"];
    let verify = vps.run(&["systemd-analyze", "verify", units[0], units[1]]);
    assert!(verify.code == Some(0) && verify.err.is_empty(), "{verify:?}");
    vps.must(&["systemctl", "stop", "claude-workers.timer"]);

    world.open_issue();
    // `start` returns when the tick is over.
    vps.must(&["systemctl", "start", "claude-workers.service"]);
    world.wait_for_agent();
    let unit = vps.run(&["systemctl", "is-active", "claude-workers.service"]);
    assert_eq!(unit.out, "inactive\n", "the tick is over");
    assert_eq!(world.state(), "busy");
    vps.must(&["systemctl", "start", "claude-workers.service"]);
    assert_eq!(world.state(), "busy", "the next tick leaves it alone");

    let refused = vps.setup(&["--uninstall"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.starts_with("error: runs are under way (pid "), "{refused:?}");
    let said = vps.must_setup(&["--timer"]);
    assert!(said.contains("start the timer"), "what it had stopped is there again: {said}");
    vps.must(&["systemctl", "stop", "claude-workers.timer"]);

    world.finish();
    assert_eq!(world.pulls().len(), 1);

    // The same without the line that this is about.
    vps.write(
        "/etc/systemd/system/claude-workers.service.d/x.conf",
        "[Service]\nKillMode=control-group\n",
    );
    vps.must(&["systemctl", "daemon-reload"]);
    world.open_issue();
    vps.must(&["systemctl", "start", "claude-workers.service"]);
    assert_eq!(world.state(), "crashed", "systemd ends what the tick started");
}

#[test]
fn a_run_goes_on_when_the_program_is_replaced() {
    let world = World::new("--no-tick");
    world.open_issue();
    world.vps.must(&["cw", "assign"]);
    world.wait_for_agent();
    // Another program of the same kind: it is longer by a byte.
    world.vps.sh("cp /srv/claude-workers /tmp/new; echo >>/tmp/new");
    world.vps.must(&["/srv/install/setup-vps", "--no-tick", "--binary", "/tmp/new"]);
    world.finish();
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn a_run_outlives_the_tick_of_cron_whose_log_is_rotated() {
    let world = World::new("--cron");
    let vps = &world.vps;
    let table = vps.must(&["cat", "/etc/cron.d/claude-workers"]);
    let line = table.lines().find(|line| !line.starts_with('#')).unwrap();
    let command = line.strip_prefix("*/5 * * * * worker ").unwrap();
    let as_cron = [
        "runuser",
        "-u",
        "worker",
        "--",
        "env",
        "-i",
        "HOME=/home/worker",
        "LOGNAME=worker",
        "SHELL=/bin/sh",
        "PATH=/usr/bin:/bin",
        "setsid",
        "--wait",
        "/bin/sh",
        "-c",
    ];
    let tick = || vps.run(&[&as_cron[..], &[command]].concat());
    world.open_issue();
    assert_eq!(tick().code, Some(0));
    world.wait_for_agent();
    world.finish();
    assert_eq!(world.pulls().len(), 1);

    // What goes wrong is in the log, and the log does not grow for ever.
    vps.sh("chmod 644 /home/worker/.config/claude-workers/env");
    assert_eq!(tick().code, Some(1));
    let log = "/var/log/claude-workers/assign.log";
    assert!(vps.must(&["cat", log]).contains("env is not private"));
    vps.must(&["logrotate", "--force", "/etc/logrotate.d/claude-workers"]);
    assert_eq!(vps.sh(&format!("cd /; ls {log}*")), format!("{log}.1.gz\n"));
    assert_eq!(tick().code, Some(1));
    assert_eq!(vps.sh(&format!("stat -c %U {log}")), "worker\n");
}
