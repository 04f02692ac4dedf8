//! Filing issues through trouble: whatever happens, in the end each is there once.

use std::sync::atomic::{AtomicUsize, Ordering};

use claude_workers::domain::{Outcome, Phase};
use claude_workers::fakehub::{Fault, NewIssue, Role};
use claude_workers::store;
use serde_json::json;

use crate::world::{APP, World};

const THREE: &str = "mkdir $outbox/issues; cd $outbox/issues
    for n in one two three; do printf \"$n\\nlabels: bug\\n\\nText\\n\" >$n.md; done";

/// A repository in which somebody has opened an issue, and an agent that leaves three.
fn ready() -> World {
    let world = World::new();
    world.hub.add_issue(APP, &NewIssue::new("stranger", "Old").label("bug")).unwrap();
    world.agent(THREE);
    world
}

fn dispatch(world: &World) {
    world.cron(&["dispatch", "-r", APP, "--kind", "issues", "-p", "Look around"]).ok();
}

/// Titles and labels of what is there, beside the old one.
fn there(world: &World) -> Vec<(String, Vec<String>)> {
    let all = world.hub.issues(APP).unwrap().into_iter().skip(1);
    let mut all: Vec<_> = all.map(|i| (i.title, i.labels)).collect();
    all.sort();
    all
}

/// Whether all ended as if nothing had happened.
fn each_once(world: &World) -> Result<(), String> {
    let run = world.last_run();
    let expected = ["one", "three", "two"]
        .map(|title| (title.to_owned(), vec!["blocked".to_owned(), "bug".to_owned()]));
    let files: Vec<&str> = run.filed.iter().map(|f| f.file.as_str()).collect();
    let fine = there(world) == expected
        && files == ["one.md", "three.md", "two.md"]
        && run.filed.iter().all(|f| !f.there_already)
        && run.outcome() == Some(Outcome::Succeeded)
        && run.unsaid.is_empty()
        && world.runs().len() == 1;
    if fine { Ok(()) } else { Err(format!("{:?} {run:?}", there(world))) }
}

#[test]
fn trouble_at_any_call_files_each_issue_once() {
    let world = ready();
    dispatch(&world);
    world.quiet();
    each_once(&world).unwrap();
    // Where the calls of the API stand among all.
    let calls: Vec<(usize, String)> = world
        .hub
        .exchanges()
        .iter()
        .enumerate()
        .filter(|(_, e)| e.api)
        .map(|(at, e)| (at, e.line()))
        .collect();
    let posts = calls.iter().filter(|(_, line)| line.starts_with("POST /repos/octo/app/issues"));
    assert!(calls.len() >= 8 && posts.count() == 3, "{calls:#?}");
    let limited: fn() -> Fault = || {
        let says = json!({"message": "You have exceeded a secondary rate limit."});
        Fault::answer("*", "", 403).header("retry-after", "1").body(says)
    };
    let troubles: [fn() -> Fault; 5] = [
        limited,
        || Fault::answer("*", "", 502).applied(),
        || Fault::drop_connection("*", "").applied(),
        || Fault::drop_connection("*", ""),
        || Fault::truncate("*", ""),
    ];
    // A read is tried again at once; only a limit ends the step there.
    let of = |line: &str| if line.starts_with("GET") { &troubles[..1] } else { &troubles[..] };
    let cases: Vec<_> =
        calls.iter().flat_map(|call| of(&call.1).iter().map(move |t| (call, t))).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong = Vec::new();
        while let Some(((at, line), trouble)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let world = ready();
            let fault = trouble().after(u32::try_from(*at).unwrap());
            let shown = format!("{fault:?}");
            world.hub.inject(fault);
            dispatch(&world);
            world.quiet();
            if let Err(why) = each_once(&world) {
                wrong.push(format!("{line} {shown}: {why}"));
            }
        }
        wrong
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        // Most of the time is spent in pauses before something is tried again.
        let all: Vec<_> = (0..20).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_supervisor_killed_between_two_issues_files_none_twice() {
    let world = ready();
    world.hub.inject(Fault::answer("POST", "/repos/octo/app/issues", 502).applied().after(1));
    dispatch(&world);
    let task = || store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
    world.wait_until("it waits between two tries", || {
        task().is_some_and(|run| run.phase == Phase::Publishing && !run.unsaid.is_empty())
    });
    world.kill_supervisor("01");
    let run = task().unwrap();
    assert_eq!((there(&world).len(), run.filed.len()), (2, 1), "the second answer was lost");
    let shown = world.cron(&["status", "01"]).ok().out;
    assert!(shown.contains("/octo/app/issues/2") && shown.contains("one"), "{shown}");
    world.tick();
    each_once(&world).unwrap();
}

#[test]
fn a_person_who_unblocks_an_issue_meanwhile_is_not_overruled() {
    let world = ready();
    world.hub.inject(Fault::answer("POST", "/repos/octo/app/issues", 502).after(1));
    dispatch(&world);
    let task = || store::read_task(&world.root, &"01".parse().unwrap()).unwrap();
    world.wait_until("one is filed", || task().is_some_and(|run| !run.unsaid.is_empty()));
    world.kill_supervisor("01");
    world.hub.unlabel(APP, 2, "blocked", "octo").unwrap();
    // No worker is to take it while the rest is filed.
    world.hub.set_open(APP, 2, false).unwrap();
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded]);
    assert_eq!((world.labels(2), world.labels(3).len()), (vec!["bug".to_owned()], 2));
    assert_eq!(there(&world).len(), 3);
}

#[test]
fn an_issue_that_lost_its_label_before_it_could_be_checked_is_labelled_later() {
    let world = ready();
    // The answer says that GitHub left the labels out; what should put them on, fails.
    world.hub.set_role(APP, "stranger", Role::Triage).unwrap();
    world.hub.label(APP, 1, "blocked", "octo").unwrap();
    world.hub.add_token("stranger", "ghp_other", None).unwrap();
    world.write_token("ghp_other");
    // The list of labels is not the token's to extend: that it is there already is known.
    world.hub.inject(Fault::answer("POST", "/repos/octo/app/labels", 422).body(json!({
        "message": "Validation Failed",
        "errors": [{"resource": "Label", "code": "already_exists", "field": "name"}],
    })));
    world.hub.inject(Fault::answer("POST", "/issues/2/labels", 502));
    dispatch(&world);
    world.quiet();
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded], "{:?}", world.last_run());
    assert!(there(&world).iter().all(|(_, labels)| labels == &["blocked"]), "{:?}", there(&world));
    assert_eq!(there(&world).len(), 3);
}

#[test]
fn what_github_refuses_fails_the_run_and_the_rest_is_filed() {
    let world = ready();
    world.hub.inject(
        Fault::answer("POST", "/repos/octo/app/issues", 422)
            .body(json!({"message": "Validation Failed"})),
    );
    dispatch(&world);
    world.quiet();
    let run = world.last_run();
    assert_eq!(run.outcome(), Some(Outcome::Failed));
    assert_eq!(run.ended.unwrap().why, "2 issues filed; GitHub refused 1");
    assert!(run.unsaid[0].starts_with("one.md: GitHub says 422"), "{:?}", run.unsaid);
    assert_eq!((run.filed.len(), there(&world).len()), (2, 2));
}
