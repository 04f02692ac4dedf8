//! Known secrets: an agent says them in every way it can, and they are nowhere afterwards.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use claude_workers::domain::Outcome;

use crate::world::{APP, Config, World, files};

const SECRET: &str = "tok/3n+With\"Odd=bytes&in it";

/// The forms, in shell: `$CANARY_TOKEN` is in the agent's environment.
const FORMS: &str = r#"
raw=$CANARY_TOKEN
b64=$(printf %s "x-access-token:$raw" | base64 -w0)
url64=$(printf %s "$raw" | base64 -w0 | tr '+/' '-_')
hex=$(printf %s "$raw" | od -An -v -tx1 | tr -d ' \n')
json=$(printf %s "$raw" | sed 's/"/\\"/')
percent=$(printf %s "$hex" | sed 's/../%&/g')
"#;

fn world() -> World {
    let more = format!("env = {{ CANARY_TOKEN = '{SECRET}' }}\n[redact]\nfile = '~/more'");
    let world = World::bare(&Config { more, ..Config::default() });
    std::fs::write(world.user_home().join("more"), "another-secret-value\n").unwrap();
    world.hub.add_repo(&crate::world::app()).unwrap();
    world.init(&["01"]);
    world
}

fn hex(text: &str) -> String {
    let digit = |d: u8| char::from_digit(u32::from(d), 16).unwrap();
    text.bytes().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// What may not be found anywhere.
fn forms() -> Vec<String> {
    let hex = hex(SECRET);
    let b64 = |text: &str| STANDARD.encode(text);
    vec![
        SECRET.to_owned(),
        SECRET.replace('"', "\\\""),
        b64(&format!("x-access-token:{SECRET}")),
        b64(SECRET).trim_end_matches('=').to_owned(),
        hex[..30].to_owned(),
        "another-secret-value".to_owned(),
        // In the middle of each.
        SECRET[5..20].to_owned(),
    ]
}

#[track_caller]
fn nowhere(world: &World, said: &[String]) {
    for (path, bytes) in files(&world.root.pool()) {
        let text = String::from_utf8_lossy(&bytes);
        for form in forms() {
            assert!(!text.contains(&form), "{form} in {}", path.display());
        }
    }
    for text in said {
        for form in forms() {
            assert!(!text.contains(&form), "{form} in {text}");
        }
    }
}

#[test]
fn what_an_agent_says_of_a_secret_reaches_neither_the_disk_nor_github() {
    let world = world();
    let script = format!(
        r#"{FORMS}
        for form in "$raw" "$b64" "$url64" "$hex" "$json" "another-secret-value"; do
            printf '{{"type":"x","said":"%s"}}\n' "$form"; echo "err $form" >&2
        done
        # Split across writes, and across the pieces of a line that is too long to be held.
        printf %s "$raw" | while IFS= read -rN1 c; do printf %s "$c"; done; echo
        head -c 1048570 /dev/zero | tr '\0' x; printf '%s' "$raw"; head -c 3000000 /dev/zero | tr '\0' y
        printf '%s\n' "$raw"
        # Broken into lines, as encoders do it, wherever in it the secret is.
        for n in 1 20 40 60 80; do
            {{ head -c $n /dev/zero | tr '\0' m; printf %s "$raw and so on, for more than one line"; }} >plain
            base64 plain; base64 plain >&2; od -An -v -tx1 plain | tr -d ' \n' | fold -w60; echo
            printf '{{"type":"x","said":"%s"}}\n' "$(base64 plain | sed ':a;N;$!ba;s/\n/\\n/g')"
        done
        rm plain
        printf '%s\n\n%s\n' "Title $raw" "Body $b64 and $hex" >$outbox/pr.md
        echo "See $url64" >$outbox/comment.md
        echo "$raw" >leftover.txt
        echo a >a; git add a; git commit -qm a
        echo "Last words: $raw""#
    );
    world.agent(&script);
    world.issue("One");
    world.tick();
    assert_eq!(world.outcomes(), [Outcome::Succeeded], "{:?}", world.last_run());
    let log = world.cron(&["logs", "01", "--raw"]).ok().out;
    assert!(log.matches("[redacted:CANARY_TOKEN]").count() > 32, "{log:.9000}");
    // But for the few digits that end a line before it can be known what they begin.
    let joined = log.replace(['\n', '\\'], "");
    for part in [&STANDARD.encode(&SECRET[6..21]), &hex(&SECRET[4..])] {
        assert!(!joined.contains(&part[..20]), "{part} in {log:.9000}");
    }
    assert!(log.contains("[redacted:secret]"));
    assert!(log.matches('x').count() > 1_048_000);
    let pull = world.pulls().pop().unwrap();
    assert!(pull.title.contains("[redacted:CANARY_TOKEN]"), "{}", pull.title);
    let mut said = vec![pull.title, pull.body];
    said.extend(world.comments(1));
    nowhere(&world, &said);
    // What was left uncommitted is kept as a patch by the next run; and a failing one says why.
    world.agent(&format!("{FORMS} echo \"$raw\" >&2; exit 3"));
    world.issue("Two");
    world.tick();
    assert_eq!(world.last_run().outcome(), Some(Outcome::Failed));
    let patches = files(&world.root.pool());
    let patch = patches.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "patch"));
    assert!(String::from_utf8_lossy(&patch.unwrap().1).contains("+[redacted:CANARY_TOKEN]"));
    nowhere(&world, &world.comments(world.last_run().issue.unwrap().get()));
}

#[test]
fn a_secret_in_a_commit_is_not_published() {
    let world = world();
    for (script, place) in [
        ("commit config.txt \"key: $b64\"", "config.txt: [redacted:CANARY_TOKEN]"),
        ("echo a >a; git add a; git commit -qm \"Use $raw\"", "message of commit "),
        ("commit gone.txt \"$hex\"; git rm -q gone.txt; commit b c", "gone.txt: "),
        (
            "echo \"machine github.com login x password $raw or so\" | base64 >f; git add f; git commit -qm f",
            "f: [redacted:CANARY_TOKEN]",
        ),
        ("commit another-secret-value x", "name of a file at the top: [redacted:secret]"),
    ] {
        world.agent(&format!("{FORMS}\n{script}\necho 'All done.'"));
        let issue = world.issue("Something");
        world.cron(&["dispatch", "-r", APP, "-i", &issue.to_string()]).ok();
        world.quiet();
        assert_eq!(world.last_run().outcome(), Some(Outcome::Deferred), "{script}");
        let [comment] = world.comments(issue).try_into().unwrap();
        assert!(comment.contains("known secrets are in what was committed"), "{comment}");
        assert!(comment.contains(place) && !comment.contains("allow_protected"), "{comment}");
        nowhere(&world, &[comment]);
    }
    assert!(world.pulls().is_empty());
}

#[test]
fn a_list_of_secrets_that_cannot_be_read_keeps_a_run_from_starting() {
    let world = world();
    let (file, issue) = (world.user_home().join("more"), world.issue("One").to_string());
    // Or that is too long to be looked for.
    std::fs::write(&file, "a-secret-value\n".repeat(251)).unwrap();
    world.cron(&["dispatch", "-r", APP, "-i", &issue]).exits(2).says("more than 250 lines");
    std::fs::remove_file(file).unwrap();
    world.cron(&["dispatch", "-r", APP, "-i", &issue]).exits(2).says("[redact] file");
    assert!(world.labels(1).is_empty() && !world.task("01").exists());
}

/// What an agent puts where credentials are kept is no secret of anybody's, if everybody writes it.
#[test]
fn an_agent_cannot_have_honest_words_taken_for_secrets() {
    for mode in ["copy", "broker"] {
        let credentials = if mode == "broker" { "mode = 'broker'" } else { "" };
        let world = World::with(&Config { credentials, ..Config::default() }, &["01"]);
        world.says(
            r#"cd; mkdir -p .claude .ssh; echo 'machine x password complete' >.netrc
            echo '{"a":{"accessToken":"\"result\"","refreshToken":"completely and utterly"}}' >.claude/.credentials.json
            printf -- '-----BEGIN PRIVATE KEY-----\n"type":\ncompletely\n' >.ssh/id_x; echo laid"#,
        );
        let line = r#"{"type":"result","a":"complete","b":"completely and utterly"}"#;
        assert!(world.says(&format!("echo '{line}'")).ends_with(&format!("{line}\n")), "{mode}");
    }
    // A token is one, whoever put it there.
    let world = World::new();
    world.says("cd; echo 'machine x password ghp_0123456789abcdefghij' >.netrc; echo laid");
    assert_eq!(world.says("cat ~/.netrc"), "machine x password [redacted:git-password]\n");
}
