//! Homes without access to GitHub, and whose words may be worked on where.

use std::fs;
use std::os::unix::fs::symlink;

use claude_workers::domain::Outcome;
use claude_workers::fakehub::{NewIssue, Role};
use claude_workers::store::write_private;

use crate::world::{APP, Config, TOKEN, World, app, files};

const KEY: &str = "sk-ant-the-models-own-key";

fn broker() -> Config {
    Config { credentials: "mode = 'broker'", ..Config::default() }
}

/// A world whose user has everything that opens GitHub, and no worker yet.
fn rich(config: &Config) -> World {
    let world = World::bare(config);
    world.hub.add_repo(&app()).unwrap();
    for (file, text) in [
        (".ssh/id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0a2V5\n".to_owned()),
        (".gitconfig", "[user]\n\tname = Ada\n[credential]\n\thelper = store\n".to_owned()),
        (".config/gh/hosts.yml", format!("github.com:\n    oauth_token: {TOKEN}\n")),
    ] {
        let path = world.user_home().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_private(&path, text.as_bytes()).unwrap();
    }
    world
}

fn init(world: &World, worker: &str) {
    let mut program = world.program();
    program.args(["init", worker]).env("GH_TOKEN", TOKEN).env("ANTHROPIC_API_KEY", KEY);
    program.assert().success();
}

fn no_trace(world: &World, worker: &str) {
    let record = world.root.record(&worker.parse().unwrap());
    for dir in [world.home(worker), record.dir().to_owned()] {
        for (path, bytes) in files(&dir) {
            let text = String::from_utf8_lossy(&bytes);
            for secret in [TOKEN, "c2VjcmV0a2V5", "helper = store"] {
                assert!(!text.contains(secret), "{secret} in {}", path.display());
            }
        }
    }
}

#[test]
fn a_broker_home_holds_the_models_key_and_nothing_that_opens_github() {
    let more = "pass_env = ['GH_TOKEN', 'SSH_AUTH_SOCK', 'OTHER', 'PLAIN', 'ANTHROPIC_API_KEY']\n\
                env = { GITHUB_TOKEN = 'x-written-by-hand' }";
    let world = rich(&Config { more: more.to_owned(), ..broker() });
    init(&world, "01");
    no_trace(&world, "01");
    let values = fs::read_to_string(world.root.record(&"01".parse().unwrap()).values()).unwrap();
    assert_eq!(values, format!("{{\"ANTHROPIC_API_KEY\":\"{KEY}\"}}"));
    world.agent("env >$HOME/env; test -n \"$ANTHROPIC_API_KEY\" && echo has key; commit a b");
    world.issue("One");
    let mut program = world.program();
    program.args(["assign"]).env("GH_TOKEN", TOKEN).env("SSH_AUTH_SOCK", "/run/agent");
    program.env("OTHER", format!("basic:{TOKEN}")).env("PLAIN", "passed");
    program.assert().success();
    world.quiet();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    let env = fs::read_to_string(world.home("01").join("env")).unwrap();
    for name in ["GH_TOKEN", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "OTHER"] {
        assert!(!env.lines().any(|line| line.starts_with(&format!("{name}="))), "{name}");
    }
    assert!(env.contains("PLAIN=passed"), "{env}");
    world.cron(&["logs", "01"]).ok().says("has key");
    no_trace(&world, "01");
    assert_eq!(world.pulls().len(), 1);
}

#[test]
fn a_home_becomes_a_broker_by_refresh_and_what_is_left_goes_before_its_next_run() {
    let world = rich(&Config { credentials: "", ..Config::default() });
    init(&world, "01");
    world.cron(&["status", "01"]).ok().says("copy");
    assert!(world.home("01").join(".ssh/id_ed25519").exists());
    let own = world.home("01").join(".netrc");
    fs::write(&own, "machine github.com password x").unwrap();
    world.configure(&broker());
    world.cron(&["doctor"]).says("claude-workers refresh --all");
    let said = world.cron(&["refresh", "01"]).ok();
    let said = said.says(".netrc looks like a credential").says("removed: .ssh/id_ed25519");
    said.says("GH_TOKEN removed").says("who may have kept copies");
    no_trace(&world, "01");
    world.cron(&["status", "01"]).ok().says("broker");
    assert!(world.cron(&["status", "--json"]).ok().out.contains("\"credentials\": \"broker\""));
    world.cron(&["doctor"]).says(".netrc");
    world.issue("One");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert!(!own.exists());
    let kept = world.root.record(&"01".parse().unwrap()).quarantine().join(".netrc");
    assert_eq!(fs::read_to_string(kept).unwrap(), "machine github.com password x");
    // Not through a link that an agent has made: what it leads to is not in the home.
    symlink(world.user_home().join(".ssh"), world.home("01").join(".ssh")).unwrap();
    world.cron(&["dispatch", "-r", APP, "-p", "More"]).ok();
    world.quiet();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Succeeded));
    assert!(world.user_home().join(".ssh/id_ed25519").exists());
    // And back.
    world.configure(&Config { credentials: "", ..Config::default() });
    world.cron(&["refresh", "01"]).ok();
    world.cron(&["status", "01"]).ok().says("copy");
    assert!(world.home("01").join(".config/gh/hosts.yml").exists());
}

/// An issue of a stranger that somebody who may write has approved.
fn approved(world: &World) -> u64 {
    world.hub.add_user("writer").unwrap();
    world.hub.set_role(APP, "writer", Role::Write).unwrap();
    let issue = world.hub.add_issue(APP, &NewIssue::new("stranger", "Something")).unwrap();
    world.hub.label(APP, issue, "approved", "writer").unwrap();
    issue
}

#[test]
fn a_strangers_issue_is_worked_on_in_a_broker_home_only() {
    let world = World::new();
    approved(&world);
    let said = world.cron(&["assign", "--dry-run"]).ok();
    said.says("it needed an approval, and no worker without GitHub credentials");
    world.tick();
    for args in
        [&["dispatch", "-r", APP, "-i", "1"][..], &["dispatch", "-r", APP, "-i", "1", "-w", "01"]]
    {
        world.cron(args).exits(4).says("stranger, who wrote octo/app#1").says("approved_in");
    }
    assert!(world.runs().is_empty() && world.labels(1) == ["approved"]);
    // Its own are still worked on by anybody, and the broker is left for the stranger's.
    world.configure(&broker());
    world.init(&["02"]);
    world.issue("Own");
    world.tick();
    let by: Vec<(u64, String)> =
        world.runs().iter().map(|r| (r.issue.unwrap().get(), r.worker.to_string())).collect();
    assert_eq!(by.len(), 2, "{by:?}");
    assert!(by.contains(&(1, "02".into())) && by.contains(&(2, "01".into())), "{by:?}");
    let second = approved_again(&world);
    world.cron(&["dispatch", "-r", APP, "-i", &second.to_string()]).ok().says("worker 02");
    world.quiet();
}

fn approved_again(world: &World) -> u64 {
    world.hub.add_issue(APP, &NewIssue::new("stranger", "More")).unwrap()
}

#[test]
fn a_strangers_issue_is_worked_on_anywhere_if_the_user_said_so() {
    let world =
        World::with(&Config { assign: "approved_in = 'any'", ..Config::default() }, &["01"]);
    approved(&world);
    world.tick().says("works on octo/app#1");
    let more = approved_again(&world);
    world.cron(&["dispatch", "-r", APP, "-i", &more.to_string()]).ok();
    world.quiet();
}

#[test]
fn a_broker_without_a_wall_is_refused() {
    let world = World::bare(&Config { sandbox: "mode = 'none'", ..broker() });
    world.cron(&["status"]).exits(2).says("[credentials] mode");
}
