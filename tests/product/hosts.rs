//! Several machines with the same repositories, and workers of the same names.

use std::fs;
use std::path::PathBuf;
use std::thread;

use claude_workers::domain::Outcome;
use claude_workers::fakehub::{Fault, NewIssue};
use claude_workers::store::{self, Root, State};
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::words::Said;
use crate::world::{APP, Config, World};

/// Another machine in the same world: the same token, repositories and agent.
struct Host<'a> {
    world: &'a World,
    home: PathBuf,
    root: Root,
}

impl<'a> Host<'a> {
    fn new(world: &'a World, name: &str, workers: &[&str]) -> Self {
        let home = world.dir.join(name);
        let config = home.join(".config/claude-workers");
        fs::create_dir_all(&config).unwrap();
        fs::copy(world.config_file(), config.join("config.toml")).unwrap();
        fs::copy(world.token_file(), home.join("token")).unwrap();
        let root = Root::new(home.join("workers"));
        let host = Self { world, home, root };
        for id in workers {
            host.cron(&["init", id]).ok();
        }
        host
    }

    fn cron(&self, args: &[&str]) -> Said {
        let mut program = self.world.program();
        Said::of(&program.env("HOME", &self.home).args(args).output().unwrap())
    }

    fn tick(&self) -> Said {
        let said = self.cron(&["assign"]);
        self.wait();
        said
    }

    fn wait(&self) {
        self.world.wait_until("the other host is quiet", || {
            let busy = |w: &store::Worker| matches!(w.state, State::Busy(_) | State::Starting);
            !store::list(&self.root).unwrap().iter().any(busy)
        });
    }

    fn outcomes(&self) -> Vec<Outcome> {
        let (runs, _) = store::completed(&self.root, None).unwrap();
        runs.iter().map(|run| run.outcome().unwrap()).collect()
    }

    /// Lets so much time pass, as far as this host's memory of claims goes.
    fn later(&self, secs: i64) {
        let claims = self.root.github().join("claims");
        let _ = fs::remove_dir_all(claims.join("looked"));
        for entry in fs::read_dir(claims.join("seen")).unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap();
            let mut seen: serde_json::Value = serde_json::from_str(&text).unwrap();
            // It may well be before the machine's start.
            seen["secs"] = (seen["secs"].as_i64().unwrap() - secs).into();
            fs::write(entry.path(), seen.to_string()).unwrap();
        }
    }
}

/// Claims that are good for a little more than their margin of an hour.
fn short() -> Config {
    Config { limits: "wall_clock = '1m'\ngrace = '1s'", ..Config::default() }
}

const TTL: i64 = 3600 + 60 + 1;

/// The first host works on issue 1, with an agent that goes on until `$HOME/go` is there.
fn at_work(config: &Config) -> World {
    let world = World::with(config, &["01"]);
    world.agent("mark start; while [ -e $HOME/wait ]; do sleep 0.05; done; commit a b");
    fs::write(world.home("01").join("wait"), "").unwrap();
    world.issue("One");
    world.cron(&["assign"]).ok();
    world.wait_until("the agent is at work", || !world.marks().is_empty());
    world
}

#[test]
fn of_hosts_that_tick_at_the_same_moment_one_gets_the_issue() {
    let world = World::new();
    world.agent("mark issue-$issue; commit work-$issue.txt done");
    let others = [Host::new(&world, "b", &["01"]), Host::new(&world, "c", &["01"])];
    let mut issues = Vec::new();
    for n in 1..=8 {
        issues.push(world.issue(&format!("Issue {n}")));
        thread::scope(|scope| {
            scope.spawn(|| world.cron(&["assign"]));
            for host in &others {
                scope.spawn(|| host.cron(&["assign"]));
            }
        });
        for host in &others {
            host.tick();
        }
        world.quiet();
    }
    let mut marks = world.marks();
    marks.sort_by_key(String::len);
    let wanted: Vec<String> = issues.iter().map(|n| format!("issue-{n}")).collect();
    assert_eq!(marks, wanted, "each issue has been worked on once");
    assert_eq!(world.pulls().len(), 8);
    for issue in issues {
        assert_eq!((world.comments(issue).len(), world.labels(issue).len()), (1, 0), "{issue}");
    }
}

#[test]
fn a_label_that_no_claim_explains_is_left_alone() {
    let world = World::new();
    world.issue("One");
    world.hub.label(APP, 1, "worker:07", "octo").unwrap();
    world.tick().says("1 held");
    world.tick();
    assert_eq!(world.labels(1), ["worker:07"]);
    assert!(world.runs().is_empty());
}

#[test]
fn an_issue_whose_host_is_gone_is_taken_over_once_its_claim_has_run_out() {
    let world = at_work(&short());
    world.kill_supervisor("01");
    let other = Host::new(&world, "b", &["02"]);
    other.tick().ok();
    assert_eq!(world.labels(1), ["worker:01"]);
    other.later(TTL - 60);
    other.tick().ok();
    assert_eq!(world.labels(1), ["worker:01"], "not a minute too early");
    other.later(60);
    world.agent("commit theirs b");
    other.tick().ok().says("worker 02 works on octo/app#1");
    assert_eq!(other.outcomes(), [Outcome::Succeeded]);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
    assert!(world.labels(1).is_empty(), "{:?}", world.labels(1));

    // The first host comes back: what it had begun is not its own any more.
    fs::remove_file(world.home("01").join("wait")).unwrap();
    world.tick().says("worker 01 carries on");
    assert_eq!(world.outcomes(), [Outcome::Lost]);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
}

#[test]
fn a_host_that_was_paused_for_longer_than_its_claim_publishes_nothing() {
    let world = at_work(&short());
    let run = store::read_task(&world.root, &"01".parse().unwrap()).unwrap().unwrap();
    let supervisor = Pid::from_raw(i32::try_from(run.pid.unwrap()).unwrap());
    kill(supervisor, Signal::SIGSTOP).unwrap();
    // A worker of the same name has the same label.
    let other = Host::new(&world, "b", &["01"]);
    other.tick().ok();
    other.later(TTL);
    world.agent("mark other; while [ -e $HOME/wait ]; do sleep 0.05; done; commit theirs b");
    fs::write(other.root.home(&"01".parse().unwrap()).join("wait"), "").unwrap();
    other.cron(&["assign"]).ok().says("worker 01 works on octo/app#1");
    world.wait_until("the other agent is at work", || world.marks().len() == 2);

    fs::remove_file(world.home("01").join("wait")).unwrap();
    kill(supervisor, Signal::SIGCONT).unwrap();
    world.wait_until("the paused host has ended its run", || !world.runs().is_empty());
    assert_eq!(world.outcomes(), [Outcome::Lost]);
    assert!(world.pulls().is_empty() && world.comments(1).is_empty());
    assert_eq!(world.labels(1), ["worker:01"], "the label is the other host's");

    fs::remove_file(other.root.home(&"01".parse().unwrap()).join("wait")).unwrap();
    other.tick();
    assert_eq!(other.outcomes(), [Outcome::Succeeded]);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
}

#[test]
fn a_branch_that_had_arrived_before_the_issue_was_taken_over_gets_no_pull_request() {
    let world = at_work(&short());
    world.hub.inject(Fault::answer("POST", "/pulls", 502));
    fs::remove_file(world.home("01").join("wait")).unwrap();
    world.wait_until("the branch has arrived and its pull request has not", || {
        let run = store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
        run.is_some_and(|run| !run.unsaid.is_empty())
    });
    world.kill_supervisor("01");
    let other = Host::new(&world, "b", &["02"]);
    other.tick().ok();
    other.later(TTL);
    world.agent("commit theirs b");
    other.tick().ok().says("worker 02 works on octo/app#1");
    assert_eq!(other.outcomes(), [Outcome::Succeeded]);

    world.tick().says("worker 01 carries on");
    assert_eq!(world.outcomes(), [Outcome::Lost]);
    let heads: Vec<String> = world.pulls().into_iter().map(|pull| pull.head).collect();
    assert_eq!(heads, ["issue-1-2"]);
    assert_eq!((world.comments(1).len(), world.labels(1).len()), (1, 0));
}

#[test]
fn a_record_without_a_claim_gets_no_issue_that_another_worker_of_its_host_has() {
    let world = at_work(&Config::default());
    world.init(&["02"]);
    let host =
        Host { world: &world, home: world.user_home(), root: Root::new(world.root.path().into()) };
    died_before_its_claim(&world, &host, "02");
    world.cron(&["assign"]).says("worker 02 carries on");
    world.wait_until("it has ended", || !world.runs().is_empty());
    assert_eq!(world.outcomes(), [Outcome::NotStarted]);
    assert_eq!((world.marks().len(), world.labels(1)), (1, vec!["worker:01".to_owned()]));
    fs::remove_file(world.home("01").join("wait")).unwrap();
    world.quiet();
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
}

/// On `host` a dispatcher died after it had written down that a worker gets issue 1, as the first
/// host's has it, and before it had claimed the issue.
fn died_before_its_claim(world: &World, host: &Host<'_>, worker: &str) {
    let text = fs::read_to_string(world.task("01")).unwrap();
    let mut run: serde_json::Value = serde_json::from_str(&text).unwrap();
    let all = run.as_object_mut().unwrap();
    all.retain(|key, _| !["claim", "branch", "base", "baseSha", "pid", "agent"].contains(&&**key));
    all.insert("run".into(), "20261121T071500-dead".into());
    all.insert("phase".into(), "claimed".into());
    all.insert("worker".into(), worker.into());
    let task = host.root.record(&worker.parse().unwrap()).task();
    fs::create_dir_all(task.parent().unwrap()).unwrap();
    fs::write(task, serde_json::to_vec(&run).unwrap()).unwrap();
}

#[test]
fn a_run_that_never_had_its_issue_leaves_the_label_of_the_host_that_has_it() {
    let world = at_work(&Config::default());
    let other = Host::new(&world, "b", &["01"]);
    died_before_its_claim(&world, &other, "01");
    other.tick();
    assert_eq!(other.outcomes(), [Outcome::NotStarted]);
    assert_eq!(world.labels(1), ["worker:01"], "it is the first host's");
    fs::remove_file(world.home("01").join("wait")).unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
}

#[test]
fn a_run_that_gets_its_issue_late_does_not_begin_with_what_is_done_or_waits_for_a_person() {
    for (then, labels, pulls) in
        [("exit 1", &["worker:01", "blocked"][..], 0), ("commit a b", &[], 1)]
    {
        let world = at_work(&Config::default());
        let other = Host::new(&world, "b", &["01"]);
        died_before_its_claim(&world, &other, "01");
        world.agent(then);
        world.kill_supervisor("01");
        world.tick();
        assert_eq!(world.labels(1), labels);
        world.agent("mark again; commit a b");
        other.tick();
        assert_eq!(other.outcomes(), [Outcome::NotStarted], "{then}");
        assert_eq!(world.labels(1), labels);
        assert_eq!(world.pulls().len(), pulls);
        assert_eq!((world.comments(1).len(), world.marks().len()), (1, 1), "{then}");
    }
}

#[test]
fn what_another_host_has_ended_since_the_look_is_not_begun() {
    let world = World::new();
    world.agent("exit 1");
    world.issue("One");
    world.tick();
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    let (comments, pulls) = (world.comments(1), world.pulls());
    // To the other host it looks as it was before the label, the comment and the label.
    let other = Host::new(&world, "b", &["02"]);
    world.hub.inject(Fault::stale("GET", "/issues?", 3));
    world.hub.inject(Fault::stale("GET", "/issues/1", 3));
    world.agent("mark again; commit a b");
    other.tick();
    assert_eq!((other.outcomes().len(), world.marks().len()), (0, 0));
    assert_eq!(world.labels(1), ["worker:01", "blocked"]);
    assert_eq!((world.comments(1), world.pulls()), (comments, pulls));
}

/// The claim that the record tells of is young, and says nothing: it has been given back since.
#[test]
fn a_start_that_was_taken_back_by_half_does_not_begin_what_another_host_has_taken_since() {
    let world = World::new();
    world.issue("One");
    let (marker, mut assign) = (world.dir.join("struck"), world.program());
    let strike = format!("hang|supervise|before say ready|1|{}", marker.display());
    assign.env("CLAUDE_WORKERS_FAILPOINT", strike).env("CLAUDE_WORKERS_PATIENCE", "ready=1");
    // The label comes off, but that is not told: the record stays.
    world.hub.inject(Fault::drop_connection("DELETE", "/labels/").applied().times(20));
    Said::of(&assign.arg("assign").output().unwrap()).exits(1).says("the record is kept");
    world.hub.clear_faults();
    assert!(world.task("01").exists() && world.labels(1).is_empty());

    let other = Host::new(&world, "b", &["02"]);
    world.agent("mark start; while [ -e $HOME/wait ]; do sleep 0.05; done; commit a b");
    let wait = other.root.home(&"02".parse().unwrap()).join("wait");
    fs::write(&wait, "").unwrap();
    other.cron(&["assign"]).ok();
    world.wait_until("the other host's agent is at work", || !world.marks().is_empty());
    // Of what was brought on its way, the label comes late.
    world.hub.label(APP, 1, "worker:01", "octo").unwrap();
    world.cron(&["assign"]).says("worker 01 carries on");
    world.wait_until("it is given back", || !world.runs().is_empty());
    assert_eq!(world.outcomes(), [Outcome::Lost], "{:?}", world.last_run());
    assert_eq!((world.marks().len(), world.labels(1)), (1, vec!["worker:02".to_owned()]));
    fs::remove_file(wait).unwrap();
    other.wait();
    assert_eq!(other.outcomes(), [Outcome::Succeeded]);
    assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
}

/// A claim that is missing says that nobody had the issue only as long as none can be collected.
#[test]
fn a_record_without_a_claim_that_lay_for_long_is_given_back() {
    for (hours, ends) in [(1, Outcome::Succeeded), (13, Outcome::NotStarted)] {
        let world = at_work(&Config::default());
        let other = Host::new(&world, "b", &["01"]);
        died_before_its_claim(&world, &other, "01");
        world.cron(&["reset", "01", "--force"]).ok();
        world.quiet();
        git(&world, &["update-ref", "-d", CLAIM], "");
        let task = other.root.record(&"01".parse().unwrap()).task();
        let text = fs::read_to_string(&task).unwrap();
        let mut run: serde_json::Value = serde_json::from_str(&text).unwrap();
        run["startedAt"] =
            (Timestamp::now() - SignedDuration::from_hours(hours)).to_string().into();
        fs::write(&task, run.to_string()).unwrap();
        world.agent("commit a b");
        other.cron(&["reconcile"]).ok();
        world.quiet();
        other.wait();
        assert_eq!(other.outcomes(), [ends]);
        assert!(world.labels(1).is_empty());
        if ends == Outcome::NotStarted {
            let (runs, _) = store::completed(&other.root, None).unwrap();
            let why = &runs[0].ended.as_ref().unwrap().why;
            assert!(why.contains("octo/app#1 was looked at too long ago"), "{why}");
            assert!(world.comments(1).is_empty() && claims(&world).is_empty());
            // Nobody is in the way of the next.
            world.tick();
        }
        assert_eq!((world.pulls().len(), world.comments(1).len()), (1, 1));
    }
}

const CLAIM: &str = "refs/claude-workers/claims/issue-1";

/// Runs git in the repository on the server.
fn git(world: &World, args: &[&str], input: &str) -> String {
    let mut git = assert_cmd::Command::new("git");
    let dir = world.hub.repo_dir(APP).unwrap();
    let done = git.arg("--git-dir").arg(dir).args(args).write_stdin(input).unwrap();
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// The claims that the repository holds.
fn claims(world: &World) -> Vec<String> {
    let listed = git(world, &["for-each-ref", "--format=%(refname)", "refs/claude-workers"], "");
    let name = |line: &str| line.rsplit('/').next().unwrap().to_owned();
    listed.lines().map(name).collect()
}

/// Lets the run of an issue on this host have ended, and its claim have been written, so many days
/// ago.
fn long_ago(host: &Host<'_>, issue: u64, days: i64) {
    let then = Timestamp::now() - SignedDuration::from_hours(24 * days);
    let (runs, _) = store::completed(&host.root, None).unwrap();
    let run = runs.iter().find(|run| run.issue.is_some_and(|n| n.get() == issue)).unwrap();
    let dir = host.root.record(&run.worker).completed();
    let record = dir.join(format!("octo-app-{issue}-{}.json", run.run));
    let text = fs::read_to_string(&record).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["endedAt"] = then.to_string().into();
    fs::write(&record, json.to_string()).unwrap();
    written(host.world, issue, then, |message| message);
}

/// Puts a claim with another message, written `then`, in the place of the one that is there.
fn written(world: &World, issue: u64, then: Timestamp, message: impl Fn(String) -> String) {
    let name = format!("refs/claude-workers/claims/issue-{issue}");
    let commit = message(git(world, &["cat-file", "commit", &name], ""));
    let line = commit.lines().find(|line| line.starts_with("committer ")).unwrap();
    let who = "committer claude-workers <claude-workers@localhost>";
    let commit = commit.replace(line, &format!("{who} {} +0000", then.as_second()));
    let write = ["hash-object", "-t", "commit", "-w", "--stdin"];
    let id = git(world, &write, &commit);
    git(world, &["update-ref", &name, &id], "");
}

/// Where the worker has the same name as one of the host that has had the issue since, the label may
/// be that one's.
#[test]
fn a_label_that_was_left_behind_goes_although_another_host_has_had_the_issue_since() {
    for (worker, labels) in [("02", &[][..]), ("01", &["worker:01"])] {
        let world = World::new();
        // This GitHub lets a second pass between two changes of an issue.
        let old = NewIssue::new("octo", "One").created_at("2026-01-01T00:00:00Z".parse().unwrap());
        world.hub.add_issue(APP, &old).unwrap();
        world.hub.inject(Fault::answer("DELETE", "/labels/", 403));
        world.tick();
        assert_eq!((world.outcomes(), world.labels(1).len()), (vec![Outcome::Succeeded], 1));
        let run = world.last_run().run.to_string();
        written(&world, 1, Timestamp::now(), |claim| {
            claim
                .replace("\"worker\":\"01\"", &format!("\"worker\":\"{worker}\""))
                .replace(&run, "20261121T071500-0b0b")
        });
        world.tick();
        assert_eq!(world.labels(1), labels, "{worker}");
    }
}

/// It is young by the clock, and says nothing of what others have done since.
#[test]
fn a_claim_that_is_young_by_the_clock_is_asked_for_when_its_dispatcher_has_died() {
    let world = World::with(&short(), &["01"]);
    world.issue("One");
    let (marker, mut assign) = (world.dir.join("struck"), world.program());
    let strike = format!("kill|assign|before spawn supervise|1|{}", marker.display());
    assign.env("CLAUDE_WORKERS_FAILPOINT", strike).arg("assign").assert().failure();
    assert_eq!(world.labels(1), ["worker:01"]);
    let other = Host::new(&world, "b", &["02"]);
    other.tick().ok();
    other.later(TTL);
    world.agent("mark start; while [ -e $HOME/wait ]; do sleep 0.05; done; commit a b");
    let wait = other.root.home(&"02".parse().unwrap()).join("wait");
    fs::write(&wait, "").unwrap();
    other.cron(&["assign"]).ok();
    world.wait_until("the other host's agent is at work", || !world.marks().is_empty());
    world.cron(&["assign"]).says("worker 01 carries on");
    world.wait_until("it is given back", || !world.runs().is_empty());
    assert_eq!((world.outcomes(), world.marks().len()), (vec![Outcome::Lost], 1));
    fs::remove_file(wait).unwrap();
    other.wait();
    assert_eq!((other.outcomes(), world.labels(1).len()), (vec![Outcome::Succeeded], 0));
}

/// The dispatcher died between the record and the claim, and the issue bears one of an earlier run.
#[test]
fn a_record_without_a_claim_is_carried_on_where_only_an_earlier_run_of_its_worker_had_the_issue() {
    let world = World::new();
    world.agent("exit 1");
    world.issue("One");
    world.tick();
    world.cron(&["reset", "01"]).ok();
    world.agent("commit a b");
    let (marker, mut dispatch) = (world.dir.join("struck"), world.program());
    let point = "before spawn git push refs/claude-workers/claims/issue-{n}";
    let strike = format!("kill|dispatch|{point}|1|{}", marker.display());
    dispatch.env("CLAUDE_WORKERS_FAILPOINT", strike);
    dispatch.args(["dispatch", "-r", APP, "-i", "1"]).assert().failure();
    world.tick().says("worker 01 carries on");
    assert_eq!(world.outcomes(), [Outcome::Failed, Outcome::Succeeded], "{:?}", world.last_run());
    assert_eq!((world.pulls().len(), world.labels(1).len()), (1, 0));
}

/// Nobody but the run knew of it.
#[test]
fn a_reset_takes_off_the_label_of_the_gone_host_that_its_run_took_the_issue_from() {
    let world = at_work(&short());
    world.kill_supervisor("01");
    let other = Host::new(&world, "b", &["02"]);
    other.tick().ok();
    other.later(TTL);
    world.agent("mark other; sleep 1000");
    world.hub.inject(Fault::answer("DELETE", "/labels/worker%3A01", 502).times(9));
    other.cron(&["assign"]).ok().says("worker 02 works on octo/app#1");
    world.wait_until("the other agent is at work", || world.marks().len() == 2);
    world.hub.clear_faults();
    assert_eq!(world.labels(1), ["worker:01", "worker:02"]);
    other.cron(&["reset", "02", "--force"]).ok();
    assert!(world.labels(1).is_empty(), "{:?}", world.labels(1));
}

/// What is noted when a run is reset is done only when its record is gone: until then it has the issue.
#[test]
fn what_a_reset_has_noted_waits_until_its_record_is_gone() {
    let world = at_work(&Config::default());
    world.cron(&["stop", "01"]).ok();
    world.init(&["02"]);
    let (marker, mut reset) = (world.dir.join("struck"), world.program());
    let hangs = world.dir.join("struck.hangs");
    let strike = format!("hang|reset|before write completed/*.cleared|1|{}", marker.display());
    reset.env("CLAUDE_WORKERS_FAILPOINT", strike).args(["reset", "01"]);
    thread::scope(|scope| {
        let reset = scope.spawn(|| Said::of(&reset.output().unwrap()).ok());
        world.wait_until("the reset has noted what is to be done", || hangs.exists());
        world.cron(&["reset", "02"]);
        assert_eq!(world.labels(1), ["worker:01"]);
        fs::remove_file(&hangs).unwrap();
        reset.join().unwrap();
    });
    assert!(world.labels(1).is_empty());
}

/// As when a push of its own arrives late, of a step that died or gave it up.
#[test]
fn a_run_whose_claim_moves_while_it_makes_sure_of_it_is_not_lost() {
    let world = World::new();
    world.agent("exit 1");
    world.issue("One");
    let (marker, mut assign) = (world.dir.join("struck"), world.program());
    let hangs = world.dir.join("struck.hangs");
    let point = "before spawn git push refs/claude-workers/claims/issue-{n}";
    let strike = format!("hang|step publish|{point}|1|{}", marker.display());
    Said::of(&assign.env("CLAUDE_WORKERS_FAILPOINT", strike).arg("assign").output().unwrap()).ok();
    world.wait_until("the step is about to renew its claim", || hangs.exists());
    written(&world, 1, Timestamp::now() - SignedDuration::from_mins(1), |claim| claim);
    fs::remove_file(&hangs).unwrap();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Failed]);
    assert_eq!(
        (world.comments(1).len(), world.labels(1)),
        (1, vec!["worker:01".to_owned(), "blocked".to_owned()])
    );
}

#[test]
fn claims_that_say_nothing_any_more_are_collected_by_their_own_host() {
    let world = World::new();
    let me =
        Host { world: &world, home: world.user_home(), root: Root::new(world.root.path().into()) };
    let other = Host::new(&world, "b", &["01"]);
    let works = "commit work-$issue.txt done";
    (1..=5).for_each(|n| assert_eq!(world.issue(&format!("Issue {n}")), n));
    // Each tick takes the next one.
    let ended = [
        (&me, 31, works),
        (&me, 29, works),
        (&me, 31, "exit 1"),
        (&other, 31, works),
        (&me, 400, works),
    ];
    for (issue, (host, days, agent)) in (1..).zip(ended) {
        world.agent(agent);
        host.tick();
        world.quiet();
        long_ago(host, issue, days);
    }
    let all = ["issue-1", "issue-2", "issue-3", "issue-4", "issue-5"];
    assert_eq!(claims(&world), all);
    let said = world.cron(&["gc", "--dry-run"]).ok();
    let said = said.says("would remove claim of worker 01, run ").says(CLAIM);
    assert_eq!(said.out.matches("remove claim").count(), 2, "{}", said.out);
    assert_eq!(claims(&world), all, "nothing is removed by that");
    // That nobody answers is said, and is no failure.
    let mut program = world.program();
    program.env("GITHUB_SERVER_URL", "http://127.0.0.1:1").args(["gc"]);
    Said::of(&program.output().unwrap()).ok().says("claims of http://127.0.0.1:1/octo/app.git");
    let report = world.cron(&["gc", "--json"]).ok().out;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let things = report["things"].as_array().unwrap().iter();
    let collected: Vec<_> = things.filter(|thing| thing["what"] == "claim").collect();
    assert_eq!(collected.len(), 2, "{report:#}");
    assert!(collected.iter().all(|thing| thing["removed"] == true && thing["repo"] == APP));
    assert_eq!(collected[0]["path"], CLAIM);
    assert_eq!(claims(&world), ["issue-2", "issue-3", "issue-4"]);
    assert!(!world.cron(&["gc"]).ok().out.contains("claim"));
    other.cron(&["gc"]).ok().says("removed claim of worker 01");
    assert_eq!(claims(&world), ["issue-2", "issue-3"]);
    // An issue whose claim is gone is new to nobody: its pull request is there.
    world.agent("mark again; commit c d");
    for host in [&me, &other] {
        host.tick();
    }
    world.quiet();
    assert_eq!((world.marks().len(), world.pulls().len()), (0, 4));
}

#[test]
fn a_run_that_a_person_stopped_keeps_its_claim_as_long_as_its_host_ticks() {
    let world = at_work(&short());
    world.cron(&["stop", "01"]).ok();
    let task = world.task("01");
    let claim = || {
        let run: serde_json::Value = serde_json::from_slice(&fs::read(&task).unwrap()).unwrap();
        run["claim"].clone()
    };
    let before = claim();
    world.tick();
    assert_eq!(claim(), before, "it is fresh");
    let text = fs::read_to_string(&task).unwrap();
    let old = "2001-01-01T00:00:00Z";
    fs::write(&task, text.replace(before["at"].as_str().unwrap(), old)).unwrap();
    // A tick that died had moved it, and had not written that down.
    written(&world, 1, Timestamp::now() - SignedDuration::from_mins(1), |claim| claim);
    world.tick();
    assert_ne!(claim()["id"], before["id"]);
    assert_eq!(claim()["id"], git(&world, &["rev-parse", CLAIM], ""));
    world.agent("commit a b");
    world.cron(&["restart", "01"]).ok();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
}

#[test]
fn without_claims_nothing_is_written_to_the_repository_but_the_branch() {
    for (more, refs) in [("claims = false", 0), ("claims = true", 1)] {
        let world = World::bare(&Config::default());
        let text = fs::read_to_string(world.config_file()).unwrap();
        fs::write(world.config_file(), text.replace("[git]", &format!("[git]\n{more}"))).unwrap();
        world.hub.add_repo(&crate::world::app()).unwrap();
        world.init(&["01"]);
        world.issue("One");
        world.tick();
        assert_eq!(world.outcomes(), [Outcome::Succeeded]);
        let dir = world.hub.repo_dir(APP).unwrap();
        let listed = assert_cmd::Command::new("git")
            .arg("--git-dir")
            .arg(dir)
            .args(["for-each-ref", "--format=%(contents:subject)", "refs/claude-workers"])
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(listed.lines().count(), refs, "{listed}");
        assert!(refs == 0 || listed.starts_with("done by worker 01 of "), "{listed}");
    }
}
