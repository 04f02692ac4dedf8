//! `cw` over ssh: what is typed on the laptop arrives on the server as it is, nothing waits for an
//! input that does not come, and what was started goes on without the connection.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::processes::wait_until;
use crate::vps::{Ran, Vps, World, command, laptops_script};

/// What stands in for the program: prints its arguments and its input, each ended by a NUL.
const ECHO: &str = "#!/bin/sh\nprintf '%s\\0' \"$@\"\nprintf 'stdin:'\ncat\nprintf '\\0'\n";

/// A server whose program is `script`.
fn with_program(script: &str) -> Vps {
    let vps = Vps::ready();
    vps.must_setup(&["--no-tick"]);
    vps.write("/usr/local/bin/claude-workers", script);
    vps
}

/// Arguments that somebody's shell would do something with.
fn nasty() -> Vec<OsString> {
    let words = [
        "",
        " ",
        "  a  b  ",
        "'",
        "''",
        "\"",
        "a'b",
        "'; touch /tmp/x; '",
        "\\",
        "\\\\",
        "\\'",
        "\\n",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "$",
        "$$",
        "!",
        "!!",
        "*",
        "?",
        "[a-z]",
        "~",
        "~root",
        "{a,b}",
        "a;b",
        "a&b",
        "a|b",
        "a>b",
        "<(id)",
        "#",
        "# not a comment",
        "-",
        "--",
        "-x",
        "--help",
        "-n",
        "-o",
        "%s",
        "%n\\c",
        "\n",
        "a\n",
        "\na",
        "a\n\n",
        "\r\n",
        "\t",
        "a\nb'c\n",
        "=",
        "a=b",
        "grüße",
        "日本語",
        "🦀",
        "e\u{301}",
        "\u{a0}",
        "\u{202e}",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{1}",
    ];
    let bytes: [&[u8]; 4] = [b"\xff", b"\xc3'", b"\xe2\x82", b"'\xf0\x9f'"];
    let bytes = bytes.into_iter().map(|b| OsStr::from_bytes(b).to_owned());
    words.into_iter().map(OsString::from).chain(bytes).collect()
}

/// What arrived: the arguments, and the input.
fn arrived(cw: &mut Command) -> (Vec<OsString>, Vec<u8>) {
    let output = cw.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut parts: Vec<&[u8]> = output.stdout.split(|b| *b == 0).collect();
    assert_eq!(parts.pop(), Some(&b""[..]));
    let input = parts.pop().unwrap().strip_prefix(b"stdin:").unwrap().to_owned();
    (parts.into_iter().map(|part| OsStr::from_bytes(part).to_owned()).collect(), input)
}

#[test]
fn every_argument_arrives_as_it_was_typed() {
    let vps = with_program(ECHO);
    let mut lists = vec![nasty(), vec!["x".repeat(100_000).into()]];
    lists.extend(nasty().into_iter().map(|word| vec![word]));
    let piece = prop_oneof![
        proptest::sample::select(vec![
            &b"'"[..],
            b"\\",
            b"$",
            b"`",
            b"\"",
            b"\n",
            b" ",
            b"-",
            b"!"
        ])
        .prop_map(<[u8]>::to_vec),
        proptest::collection::vec(1_u8..=255, 0..5),
        any::<char>()
            .prop_filter("not in an argument", |c| *c != '\0')
            .prop_map(|c| c.to_string().into_bytes()),
    ];
    let word = proptest::collection::vec(piece, 0..8).prop_map(|p| OsString::from_vec(p.concat()));
    let list = proptest::collection::vec(word, 1..20);
    let mut runner = TestRunner::default();
    lists.extend((0..40).map(|_| list.new_tree(&mut runner).unwrap().current()));
    // The script is a plain one: what /bin/sh is differs from laptop to laptop.
    for (shell, locale) in [("dash", "C"), ("bash", "C.UTF-8")] {
        for list in &lists {
            let mut cw = command(shell);
            cw.arg(laptops_script()).args(list).envs(vps.laptop()).env("LC_ALL", locale);
            assert_eq!(arrived(&mut cw), (list.clone(), Vec::new()), "{shell}");
        }
    }
}

#[test]
fn input_goes_to_a_prompt_and_to_nothing_else() {
    let vps = with_program(ECHO);
    let big: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let file = vps.srv.path().join("prompt");
    // A NUL would end what is printed.
    fs::write(&file, big.iter().map(|b| b | 1).collect::<Vec<u8>>()).unwrap();
    let prompt = fs::read(&file).unwrap();
    for (words, takes_it) in [
        (&["dispatch", "-r", "octo/app"][..], true),
        (&["dispatch", "-r", "octo/app", "-p", "-"], true),
        (&["dispatch", "-r", "octo/app", "-i", "1", "--prompt", "-"], true),
        (&["dispatch", "-r", "octo/app", "-i1", "--prompt=-"], true),
        (&["dispatch", "-r", "octo/app", "-i", "1"], false),
        (&["dispatch", "-r", "octo/app", "--issue=1"], false),
        (&["dispatch", "-r", "octo/app", "-p", "words"], false),
        (&["status"], false),
        (&["history", "01"], false),
    ] {
        let (_, input) = arrived(vps.cw().args(words).stdin(fs::File::open(&file).unwrap()));
        assert_eq!(input == prompt, takes_it, "{words:?}: {}", input.len());
        assert!(takes_it || input.is_empty(), "{words:?}");
    }
    let line =
        r#"printf '1\n2\n3\n' | while read -r n; do "$0" dispatch -r octo/app -i "$n"; done"#;
    let looped =
        command("sh").arg("-c").arg(line).arg(laptops_script()).envs(vps.laptop()).output();
    let looped = String::from_utf8(looped.unwrap().stdout).unwrap();
    assert_eq!(looped.matches("stdin:\0").count(), 3, "{looped:?}");
}

#[test]
fn nothing_waits_for_an_input_that_stays_open_or_needs_a_terminal() {
    let world = World::new("--no-tick");
    let vps = &world.vps;
    for words in [&["status"][..], &["history"], &["--help"], &["assign", "--dry-run"]] {
        // Not closed before the command has ended.
        let mut cw = vps.cw().args(words).stdin(Stdio::piped()).spawn().unwrap();
        assert!(cw.wait().unwrap().success(), "{words:?}");
        let mut ssh = vps.ssh();
        ssh.args(["vps", "cw"]).args(words).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut ssh = ssh.spawn().unwrap();
        assert!(ssh.wait().unwrap().success(), "plain ssh: {words:?}");
    }
    // On a terminal, where nobody types: the answer comes, or why there is none.
    for (words, code, says) in [
        ("status", 0, "idle"),
        ("dispatch -r octo/app", 2, "there is neither an issue nor a prompt"),
    ] {
        let line = format!("{} {words}", laptops_script().display());
        let mut terminal = command("script");
        terminal.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        let mut terminal = terminal.envs(vps.laptop()).env("TERM", "xterm");
        terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = terminal.spawn().unwrap();
        let open = terminal.stdin.take();
        let ran: Ran = terminal.wait_with_output().unwrap().into();
        drop(open);
        assert!(ran.code == Some(code) && ran.out.contains(says), "{words}: {ran:?}");
    }
}

#[test]
fn every_command_does_its_work_over_ssh() {
    let world = World::new("--no-tick");
    let vps = &world.vps;
    let issue = world.open_issue().to_string();
    // Without a terminal, and with an input that stays open for as long as the command runs.
    let cw = |words: &[&str], code: i32, says: &str| {
        let mut cw = vps.cw();
        cw.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut cw = cw.spawn().unwrap();
        let open = cw.stdin.take();
        let ran: Ran = cw.wait_with_output().unwrap().into();
        drop(open);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(ran.code == Some(code) && said.contains(says), "{words:?}: {ran:?}");
    };
    cw(&["init", "02"], 0, "worker 02 is ready");
    cw(&["doctor"], 0, "the canary found every wall in place");
    cw(&["assign", "--dry-run"], 0, &format!("would start worker 01 on octo/app#{issue}"));
    cw(
        &["dispatch", "-r", "octo/app", "-i", &issue, "-w", "01", "--json"],
        0,
        "\"worker\": \"01\"",
    );
    world.wait_for_agent();
    cw(&["status"], 0, "busy");
    cw(&["status", "--remote", "--json"], 0, "\"drift\": []");
    cw(&["status", "--watch"], 2, "terminal");
    cw(&["inspect", "01", "5"], 0, "");
    cw(&["logs", "01"], 0, "");
    cw(&["todos"], 0, "agents of the executor mine do not tell");
    cw(&["refresh", "--all", "--dry-run"], 3, "worker 01 is busy");
    cw(&["assign", "-q"], 0, "");
    cw(&["stop", "01"], 0, "worker 01 has stopped");
    cw(&["watch", "01"], 14, "stopped");
    cw(&["restart", "01"], 0, "worker 01 carries on");
    cw(&["reset", "01"], 3, "worker 01 is busy");
    cw(&["reset", "01", "-f"], 0, "is cleared");
    cw(&["refresh", "02"], 0, "nothing to change");
    cw(&["history"], 0, "stopped");
    cw(&["show", "01"], 0, "stopped");
    cw(&["gc", "--dry-run"], 0, "");
    cw(&["rm", "02"], 2, "-y");
    cw(&["rm", "02", "-y"], 0, "worker 02");
    cw(&["update", "--check"], 1, "setup-vps");
    cw(&["completions", "bash"], 0, "complete");
    cw(&["man"], 0, ".TH");
    cw(&["stauts"], 2, "status");
}

#[test]
fn a_run_outlives_the_connection_that_started_it() {
    let world = World::new("--no-tick");
    let vps = &world.vps;
    let issue = world.open_issue();
    // A terminal, so that its end is told to everything that was started on it; and the session
    // stays, so that it is the connection that ends.
    let mut ssh = vps.ssh();
    let line = format!("cw dispatch -r octo/app -i {issue}; echo \"code $?\" >~/code; sleep 1000");
    let mut ssh = ssh
        .args(["-tt", "vps", &line])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    world.wait_for_agent();
    wait_until("dispatch returned", String::new, || {
        vps.run(&["cat", "/home/worker/code"]).out == "code 0\n"
    });
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    let sessions = || vps.run(&["pgrep", "-u", "worker", "-x", "sshd|sshd-session|sleep"]).out;
    let in_session = "for comm in /proc/[0-9]*/comm; do case $(cat $comm) in sshd*|sleep)
        [ $(stat -c %U ${comm%/comm}) != worker ] || echo $comm; esac; done 2>/dev/null || true";
    wait_until("the session is gone", sessions, || vps.sh(in_session).is_empty());
    assert_eq!(world.state(), "busy");
    world.finish();
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn tab_on_the_laptop_and_on_the_server_knows_the_workers_of_the_server() {
    let world = World::new("--no-tick");
    let vps = &world.vps;
    let ask = "COMP_WORDS=(cw status '') COMP_CWORD=2; _cw_complete cw '' status
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let there = format!("source /usr/local/share/bash-completion/completions/cw; {ask}");
    assert_eq!(vps.must(&["bash", "--norc", "-euc", &there]), "01\n");

    let bin = tempfile::TempDir::new().unwrap();
    std::os::unix::fs::symlink(laptops_script(), bin.path().join("cw")).unwrap();
    let script: Ran =
        vps.cw().args(["completions", "bash", "--name", "cw"]).output().unwrap().into();
    std::fs::write(bin.path().join("script"), &script.out).unwrap();
    let here = |more: &[(&str, &str)]| -> Ran {
        let path = format!("{}:/usr/bin:/bin", bin.path().display());
        let line = format!("source {}/script; {ask}", bin.path().display());
        let mut bash = command("bash");
        bash.args(["--norc", "-euc", &line]).env("PATH", path).envs(vps.laptop());
        bash.envs(more.iter().copied()).output().unwrap().into()
    };
    assert_eq!(here(&[]).out, "01\n");
    let nobody = here(&[("CW_HOST", "127.0.0.1"), ("CW_SSH", "ssh -F /dev/null -p 1")]);
    assert_eq!((nobody.out.trim(), nobody.err.as_str()), ("", ""), "not a word about it");
}

#[test]
fn a_worker_starts_no_work() {
    let world = World::new("--no-tick");
    let issue = world.open_issue().to_string();
    for words in [&["dispatch", "-r", "octo/app", "-i", &issue][..], &["assign"]] {
        let inside = ["env", "CLAUDE_WORKERS_WORKER=01", "cw"];
        let ran = world.vps.run(&[&inside[..], words].concat());
        assert_eq!(ran.code, Some(4), "{ran:?}");
        assert!(ran.err.starts_with("error: worker 01 may not start"), "{ran:?}");
    }
    assert_eq!(world.state(), "idle");
}

#[test]
fn the_environment_file_is_read_and_nothing_in_it_is_run() {
    let vps = with_program("#!/bin/sh\nenv\nexit 7\n");
    let file = "/home/worker/.config/claude-workers/env";
    let run = |text: &[u8]| -> Ran {
        let mut child = vps.command(&["sh", "-c", &format!("cat >{file}; cw status")]);
        let mut child = child
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        child.wait_with_output().unwrap().into()
    };
    let text = "# a comment\n\n  A=$(touch /tmp/run) `touch /tmp/run`; touch /tmp/run\nB=\"two words\"\r\n\
        export C='it''s $HOME'\nD=a=b\nE=\nF=\"\n\tG=grüße \\n*\nH=last";
    let ran = run(text.as_bytes());
    assert_eq!(ran.code, Some(7), "the program's own exit code: {ran:?}");
    for line in [
        "A=$(touch /tmp/run) `touch /tmp/run`; touch /tmp/run",
        "B=two words",
        "C=it''s $HOME",
        "D=a=b",
        "E=",
        "F=\"",
        "G=grüße \\n*",
        "H=last",
        "HOME=/home/worker",
        "USER=worker",
    ] {
        assert!(ran.out.lines().any(|l| l == line), "{line}: {}", ran.out);
    }
    vps.sh("! test -e /tmp/run");

    for wrong in ["A=1\nsecret-without-a-name", "A=1\nse cret=1", "A=1\n1A=secret", "A=1\n=secret"]
    {
        let ran = run(wrong.as_bytes());
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(
            ran.err.starts_with(&format!("error: line 2 of {file} is not KEY=VALUE\n")),
            "{ran:?}"
        );
        assert!(!ran.err.contains("cret"), "{ran:?}");
    }
    run(b"A=1");
    for open in ["chmod 640", "chmod 604", "chown nobody"] {
        vps.sh(&format!("{open} {file}"));
        let ran = vps.run(&["cw", "status"]);
        assert_eq!(ran.code, Some(1), "{open}: {ran:?}");
        assert!(ran.err.contains("is not private: it must belong to worker"), "{ran:?}");
        vps.sh(&format!("chmod 600 {file}; chown worker {file}"));
    }
    vps.sh(&format!("rm {file}"));
    assert_eq!(vps.run(&["cw", "status"]).code, Some(7), "it need not be there");
}

#[test]
fn the_laptop_says_what_it_lacks() {
    let home = tempfile::TempDir::new().unwrap();
    let cw = |host: Option<&str>| -> Ran {
        let mut cw = command(laptops_script());
        cw.arg("status").env("HOME", home.path()).env("CW_SSH", "printf [%s]");
        cw.envs(host.map(|host| ("CW_HOST", host))).output().unwrap().into()
    };
    let ran = cw(None);
    assert!(ran.code == Some(2) && ran.err.starts_with("error: which server?\n"), "{ran:?}");
    for host in ["-oProxyCommand=id", "a b", "a\nb"] {
        let ran = cw(Some(host));
        assert!(ran.code == Some(2) && ran.err.starts_with("error: not a host: "), "{ran:?}");
    }
    fs::create_dir_all(home.path().join(".config/claude-workers")).unwrap();
    fs::write(home.path().join(".config/claude-workers/host"), "worker@vps").unwrap();
    assert_eq!(cw(None).out, "[-n][-T][--][worker@vps][cw 'status']");
    assert_eq!(cw(Some("other")).out, "[-n][-T][--][other][cw 'status']");
}
