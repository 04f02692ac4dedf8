//! What an agent can reach in a real run, tried by an agent.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use claude_workers::domain::{JailMode, Outcome};
use claude_workers::fakehub::Exchange;
use claude_workers::store::write_private;

use crate::world::{APP, Config, TOKEN, World, files};

#[test]
fn an_agent_sees_no_record_no_sibling_and_nothing_of_the_user() {
    let world = World::with(&Config::default(), &["01", "02"]);
    let user = world.user_home();
    for (file, text) in [(".ssh/id_ed25519", "PRIVATE"), (".gitconfig", "[user]"), (".netrc", "x")]
    {
        fs::create_dir_all(user.join(file).parent().unwrap()).unwrap();
        write_private(&user.join(file), text.as_bytes()).unwrap();
    }
    let (user, root) = (user.display(), world.root.path().display());
    let hidden = [
        format!("{user}/.ssh/id_ed25519"),
        format!("{user}/.gitconfig"),
        format!("{user}/.netrc"),
        format!("{user}/token"),
        format!("{user}/.config/claude-workers/config.toml"),
        format!("{root}/02"),
        format!("{root}/.pool/01"),
        format!("{root}/.pool/01/task.json"),
        format!("{root}/.pool/02"),
        format!("{root}/.pool/assign.lock"),
        format!("{root}/.pool/github"),
        format!("{root}/.pool/tools.json"),
        format!("{}/github", world.dir.display()),
        "/root".to_owned(),
        "/home".to_owned(),
        "/etc/shadow".to_owned(),
        "/etc/ssl/private".to_owned(),
        "/etc/pki/tls/private".to_owned(),
        "/var/run/docker.sock".to_owned(),
    ];
    let agent = format!(
        "for path in {}; do\n\
         test -e \"$path\" && echo \"REACHED $path\"\n\
         done\n\
         ls -A {root} {root}/.pool; echo looked",
        hidden.join(" ")
    );
    let said = world.says(&agent);
    assert!(said.contains("looked") && !said.contains("REACHED"), "{said}");
    // The links into the record lead nowhere inside.
    let said = world.says("cat ~/task.json ~/worker.log 2>&1; ls ~/completed/ 2>&1; echo looked");
    assert_eq!(said.matches("No such file or directory").count(), 3, "{said}");
}

#[test]
fn what_an_agent_writes_outside_of_its_home_does_not_reach_the_host() {
    let world = World::new();
    let name = world.dir.file_name().unwrap().to_string_lossy().into_owned();
    let agent = "
        mirror=$(cat .git/objects/info/alternates)
        chmod -R u+w \"$mirror\" 2>/dev/null && echo 'WROTE the modes of the mirror'
        for dir in /usr /usr/local/bin /usr/lib /sys /proc/sys/kernel \"$(dirname $0)\" \"$mirror\"
        do
            touch \"$dir/NAME\" 2>/dev/null && echo \"WROTE $dir\"
        done
        echo more 2>/dev/null >>$prompt && echo 'WROTE the prompt'
        for dir in / /etc /tmp /run /var/tmp /dev /dev/shm \"$HOME/..\" \"$HOME/../..\"; do
            touch \"$dir/NAME\" 2>/dev/null
        done
        touch ~/NAME && echo wrote home";
    let said = world.says(&agent.replace("NAME", &name));
    assert_eq!(said, "wrote home\n");
    assert!(world.home("01").join(&name).exists());
    let root = world.root.path().to_owned();
    let above = root.parent().unwrap().to_owned();
    let dirs = ["/", "/etc", "/run", "/var/tmp", "/dev", "/dev/shm"].map(std::path::PathBuf::from);
    for dir in dirs.into_iter().chain([root, above]) {
        assert!(!dir.join(&name).exists(), "{}", dir.display());
    }
    assert!(world.dir.is_dir(), "the directory's name is taken in /tmp itself");
}

/// A bubblewrap that leaves something out makes a jail like any other; only who tries its walls finds
/// out. The claim is made by then.
#[test]
fn a_wall_that_does_not_hold_is_found_before_the_agent_starts_and_its_issue_is_free_again() {
    let world = World::new();
    let user = world.user_home().join(".ssh");
    fs::create_dir(&user).unwrap();
    let (user, mirror) = (user.display(), "\"$mirror\" \"$mirror\"");
    let lacks = |word: &str| format!("[ \"$word\" = {word} ] && continue");
    let adds = |bind: &str| format!("[ \"$word\" = --chdir ] && set -- \"$@\" {bind}");
    for (edit, why) in [
        (lacks("--unshare-net"), "the loopback of the host is in reach"),
        (lacks("--unshare-pid"), "the processes of the host are in reach"),
        (adds(&format!("--bind {mirror}")), ".git can be written from inside"),
        (adds("--ro-bind \"$HOME_INSIDE\" \"$HOME_INSIDE\""), "cannot be written from inside"),
        (
            format!("[ \"$word\" = --remount-ro ] && set -- \"$@\" --ro-bind {user} {user}"),
            "can be seen from inside",
        ),
        (
            adds("--ro-bind /dev/null /run/claude-workers/egress.sock"),
            "the proxy cannot be reached",
        ),
    ] {
        let (issue, seen) = (world.issue("One"), world.asked().len());
        world.bubblewrap(&format!(
            "case \"$*\" in *prompt.txt*) ;; *) exec $real \"$@\" ;; esac
            for word; do case $word in *.git) mirror=$word ;; */01) HOME_INSIDE=$word ;; esac; done
            for word; do shift; {edit}; set -- \"$@\" \"$word\"; done
            exec $real \"$@\""
        ));
        world.tick();
        let run = world.last_run();
        let said = run.ended.as_ref().map_or("", |ended| &ended.why);
        assert_eq!(run.outcome(), Some(Outcome::NotStarted), "{why}: {said}");
        assert!(said.contains("the sandbox does not hold") && said.contains(why), "{why}: {said}");
        let labelled = |e: &Exchange| e.method == "POST" && e.path.ends_with("/labels");
        assert!(world.asked()[seen..].iter().any(labelled), "{why}: it was claimed");
        assert!(world.labels(issue).is_empty() && world.marks().is_empty(), "{why}");
        world.hub.set_open(APP, issue, false).unwrap();
        world.bubblewrap("exec $real \"$@\"");
    }
    // And it is the walls: with them, the agent starts.
    world.issue("Two");
    world.tick();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded));
}

/// What lies in memory takes from the whole machine.
#[test]
fn what_an_agent_keeps_in_memory_as_files_is_bounded() {
    let sandbox = "tmp_size = '2MiB'";
    let world = World::with(&Config { sandbox, ..Config::default() }, &["01"]);
    let said = world.says(
        "echo x >/tmp/x && echo x >/dev/shm/x && echo x >/var/tmp/x && cat /tmp/x
        for at in $(awk '$3 == \"tmpfs\" { print $2 }' /proc/mounts); do
            head -c 9000000 /dev/zero 2>/dev/null >$at/fill && echo FILLED $at
        done
        cat $(awk '$3 == \"tmpfs\" { print $2 \"/fill\" }' /proc/mounts) 2>/dev/null | wc -c",
    );
    let total: u64 = said.strip_prefix("x\n").unwrap().trim().parse().expect(&said);
    assert!((3 << 20..=5 << 20).contains(&total), "{said}");
}

#[test]
fn an_agent_sees_no_process_of_the_host() {
    let world = World::new();
    let said = world.says(
        "ls /proc | grep -c '^[0-9]'; kill -0 1 && echo can signal 1; cat /proc/*/cmdline | tr '\\0' ' '",
    );
    let count: u32 = said.lines().next().unwrap().parse().unwrap();
    assert!(count < 12, "{said}");
    assert!(!said.contains("supervise"), "{said}");
    let me = fs::metadata("/proc/self").unwrap().uid();
    if me == 0 {
        let said = world.says("id -u; grep CapEff /proc/self/status");
        assert_eq!(said, "1000\nCapEff:\t0000000000000000\n");
    }
}

#[test]
fn an_agents_environment_is_a_short_list_without_the_token() {
    let world = World::new();
    world.agent("env | sed 's/=.*//' | sort; env");
    let mut program = world.program();
    program.args(["dispatch", "-r", APP, "-p", "Look"]);
    program.env("GH_TOKEN", TOKEN).env("AWS_SECRET_ACCESS_KEY", "SECRET").env("LANG", "C.UTF-8");
    program.env("HTTPS_PROXY", "http://127.0.0.1:9");
    program.assert().success();
    world.quiet();
    let log = world.cron(&["logs", "01"]).ok().out;
    assert!(!log.contains("SECRET") && !log.contains(TOKEN), "{log}");
    // The way out is the jail's own, not the host's.
    assert!(log.contains("HTTPS_PROXY=http://127.0.0.1:3128"), "{log}");
    let known = [
        "BASH_ENV",
        "CLAUDE_WORKERS_OUTBOX",
        "CLAUDE_WORKERS_RUN",
        "CLAUDE_WORKERS_WORKER",
        "HOME",
        "ALL_PROXY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "NODE_USE_ENV_PROXY",
        "NO_PROXY",
        "OLDPWD",
        "PATH",
        "PWD",
        "SHELL",
        "SHLVL",
        "TERM",
        "TMPDIR",
        "USER",
        "_",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    for name in log.lines().take_while(|l| !l.contains('=')) {
        assert!(known.contains(&name) || name.starts_with("GIT_"), "{name} in {log}");
    }
}

#[test]
fn nothing_in_a_home_or_a_clone_holds_the_token() {
    let world = World::new();
    world.issue("One");
    world.tick();
    for dir in [world.home("01"), world.root.pool()] {
        for (path, bytes) in files(&dir) {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(TOKEN), "{}", path.display());
        }
    }
}

#[test]
fn a_token_that_the_user_had_copied_is_in_the_home_and_where_it_was_asked_for() {
    // What it prints of the token shows that it has it, and the log does not tell the token.
    let shown = "[redacted:github-token]";
    for (pass, in_the_environment) in [("pass_env = []", ""), ("pass_env = ['GH_TOKEN']", shown)] {
        let world = World::bare(&Config { more: pass.to_owned(), ..Config::default() });
        let text = fs::read_to_string(world.config_file()).unwrap();
        fs::write(world.config_file(), text.replace("copy = []", "copy = ['gh_token']")).unwrap();
        world.hub.add_repo(&crate::world::app()).unwrap();
        world.init(&["01"]);
        let agent = "echo \"<$GH_TOKEN>\"; bash -c '. ~/.bashrc; echo \"<$GH_TOKEN>\"'";
        assert_eq!(world.says(agent), format!("<{in_the_environment}>\n<{shown}>\n"));
    }
}

#[test]
fn two_workers_share_a_repositorys_objects() {
    let world = World::bare(&Config::default());
    // Something that does not compress: a megabyte of history.
    let mut seed: u64 = 88_172_645_463_325_252;
    let noise: String = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        format!("{seed:016x}\n")
    })
    .take(1 << 16)
    .collect();
    world.hub.add_repo(&crate::world::app().file("noise.txt", &noise)).unwrap();
    world.init(&["01", "02"]);
    // (Adding all would write again what git takes for changed because it is as young as the index.)
    world.agent("echo x >a-$issue; git add a-$issue; git commit -q -m x");
    world.issue("One");
    world.issue("Two");
    world.tick();
    assert_eq!(world.pulls().len(), 2);
    for worker in ["01", "02"] {
        let clone = world.home(worker).join("github/octo/app");
        assert!(clone.join("noise.txt").exists());
        let objects = files(&clone.join(".git/objects"));
        let size: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(size < 20_000, "{size} bytes of objects of its own");
        let borrowed = fs::read_to_string(clone.join(".git/objects/info/alternates")).unwrap();
        assert!(borrowed.trim().ends_with("octo/app.git/objects"), "{borrowed}");
    }
    let fetches = world.hub.exchanges().iter().filter(|e| e.path.ends_with("upload-pack")).count();
    // One for what it has, one for what it lacks, and those of the second worker.
    assert!(fetches <= 4, "{fetches}");
}

#[test]
fn hooks_and_settings_of_a_clone_never_run_on_the_host() {
    let world = World::new();
    world.agent(
        "commit a b
        for hook in pre-commit post-checkout pre-push reference-transaction post-index-change; do
            printf '#!/bin/sh\\ntouch \"%s\"/host-$(basename $0) /tmp/x\\n' \"$HOME/..\" >.git/hooks/$hook
            chmod +x .git/hooks/$hook
        done
        git config core.fsmonitor \"touch $HOME/../fsmonitor; false\"
        git config core.sshCommand \"touch $HOME/../ssh\"
        git config url.http://127.0.0.1:9/.insteadOf http://",
    );
    world.issue("One");
    world.tick();
    assert_eq!(world.pulls().len(), 1);
    world.agent("commit c d");
    world.issue("Two");
    world.tick();
    assert_eq!(world.pulls().len(), 2);
    let mut names: Vec<String> = fs::read_dir(world.root.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".pool", "01"]);
}

#[test]
fn an_agent_cannot_publish_more_than_its_branch() {
    let world = World::new();
    world.issue("One");
    world.agent(
        "commit a b; git branch other; git tag v1
        git checkout -q trunk; commit evil evil; git checkout -q issue-1
        git push -q origin HEAD:trunk 2>&1 && echo PUSHED
        echo done",
    );
    world.tick();
    let [pull] = world.pulls().try_into().unwrap();
    let diff = world.hub.pull_diff(APP, pull.number).unwrap();
    assert!(diff.contains("+++ b/a") && !diff.contains("evil"), "{diff}");
    let refs = fs::read_to_string(world.hub.repo_dir(APP).unwrap().join("packed-refs"));
    assert!(!refs.unwrap_or_default().contains("v1"));
    let heads = world.hub.repo_dir(APP).unwrap().join("refs");
    let names: Vec<String> = files(&heads)
        .iter()
        .map(|(p, _)| p.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(!names.iter().any(|n| n == "other" || n == "v1"), "{names:?}");
    assert!(!world.cron(&["logs", "01"]).ok().out.contains("PUSHED"));
}

#[test]
fn without_a_jail_only_where_the_user_wrote_so_and_status_says_it() {
    let world = World::with(&Config { sandbox: "mode = 'none'", ..Config::default() }, &["01"]);
    world.issue("One");
    world.cron(&["status"]).ok().says("sandbox: none");
    world.agent("commit a b; (setsid sh -c 'exec sleep 1000' >/dev/null 2>&1 &)");
    world.tick();
    assert_eq!(world.last_run().sandbox, JailMode::None);
    assert_eq!(world.pulls().len(), 1);
}
