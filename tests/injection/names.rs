//! Names that mean harm: of labels, branches, files and directories, and of the default branch. Who
//! may write to a repository, or put labels on, gives them; nobody who runs the program reads them.

use claude_workers::domain::Outcome;
use claude_workers::fakehub::NewRepo;

use crate::stage::{Stage, git};
use crate::walls::{NAMES, nothing_comes_out_of};
use crate::words::Config;
use crate::world::{APP, TRUNK, World};

const LONG: &str = "looooooooooooooooooooooooooooooooooooooooooooooong";

/// On each of the issues among which such names are.
pub const LABELS: &[&str] = &[
    "$(touch pwned-B)",
    "`touch pwned-C`; touch pwned-D",
    "{{ 7*7 }}{% include '/etc/passwd' %}",
    "--upload-pack=touch pwned-E",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "\u{202e}devorppa\u{200b}",
    "approved\nblocked",
    "approved ",
    "block\u{65}d.",
    "workers:01",
    "a\",\"b\\",
    "<img src=x onerror=alert(1)>",
    LONG,
];

/// As other branches are called; git allows each of them.
const BRANCHES: &[&str] = &[
    "-x",
    "--upload-pack=touch${IFS}pwned-F",
    "$(touch${IFS}pwned-G)",
    "`touch${IFS}pwned-H`",
    "{{7+7}}{%x%}",
    "'\";|&touch",
    "\u{202e}knurt\u{200b}",
    "HEAD",
    "refs/heads/trunk",
    "issue-",
    "issue-999999999999999999999999",
    "a,b(c)<d>!#",
    LONG,
];

/// As files are called, each also a directory with a file of the same name in it.
const FILES: &[&[u8]] = &[
    b"-rf",
    b"--output=pwned-I",
    b"$(touch pwned-J)",
    b"`touch pwned-K`",
    b"'; touch pwned-L; '\"",
    b"{{ 7*7 }}{% include 'x' %}",
    b"a\nb\n\n",
    b"# branch.oid 0000000000000000000000000000000000000000",
    b"? untracked\n1 .M",
    b"a\tb\\\"c",
    b"\x1b[2J\x1b]0;owned\x07",
    b"\xe2\x80\xaegnp.exe\xe2\x80\x8b",
    b"\xff\xfe\x80",
    b":(exclude)*",
    b":!x",
    b"*",
    b" ",
    b"...",
    b"@{0}",
    b"HEAD",
];

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

/// A tree of files that are called so, and directories.
fn tree(world: &World) -> String {
    let blob = text(git(world, &["hash-object", "-w", "--stdin"], b"x\n"));
    let make = |entries: &[Vec<u8>]| text(git(world, &["mktree", "-z"], &entries.concat()));
    let entry = |what: &str, id: &str, name: &[u8]| {
        [what.as_bytes(), b" ", id.as_bytes(), b"\t", name, b"\0"].concat()
    };
    let very_long = vec![b'l'; 250];
    let names: Vec<&[u8]> = FILES.iter().copied().chain([&very_long[..]]).collect();
    let files: Vec<_> = names.iter().map(|name| entry("100644 blob", &blob, name)).collect();
    let inner: Vec<_> = names
        .iter()
        .map(|name| {
            let one = make(&[entry("100644 blob", &blob, name)]);
            entry("040000 tree", &one, name)
        })
        .collect();
    let inner = make(&inner);
    let top: Vec<_> = [entry("040000 tree", &inner, b"dir")].into_iter().chain(files).collect();
    make(&top)
}

/// Commits such a tree on the default branch, and names other branches.
fn furnish(world: &World, trunk: &str) {
    let tree = tree(world);
    let base = format!("refs/heads/{trunk}");
    let commit = text(git(world, &["commit-tree", "-m", "names", "-p", &base, &tree], b""));
    git(world, &["update-ref", &base, &commit], b"");
    for branch in BRANCHES {
        git(world, &["update-ref", &format!("refs/heads/{branch}"), &commit], b"");
    }
}

#[test]
fn what_things_on_github_are_called_changes_nothing() {
    let stage = Stage::new(true);
    furnish(&stage.world, TRUNK);
    let stage = nothing_comes_out_of(stage, |class| class == NAMES);
    // The work that concerns such files is published as any other.
    assert_eq!(stage.world.pulls().len(), 4, "{:?}", stage.world.runs());
}

/// A name that git has no objection to is used as it is; one that could be an option is refused,
/// with a reason, and nothing is begun.
#[test]
fn what_the_default_branch_is_called_changes_nothing() {
    for (trunk, works) in [
        ("$(touch${IFS}pwned-M)", true),
        ("`touch${IFS}pwned-N`{{7+7}}", true),
        ("\u{202e}knurt", true),
        ("'\";|&", true),
        ("-f", false),
        ("--upload-pack=touch${IFS}pwned-O", false),
    ] {
        let world = World::bare(&Config::default());
        world
            .hub
            .add_repo(&NewRepo::new(APP).default_branch(trunk).file("README.md", "x"))
            .unwrap();
        furnish(&world, trunk);
        world.init(&["01"]);
        let issue = world.issue("One");
        world.agent("echo x >>./-rf; git add --all; git commit -qm changed; echo done");
        let said = world.cron(&["assign"]);
        world.quiet();
        let pulls = world.pulls();
        assert_eq!(pulls.len(), usize::from(works), "{trunk}: {said:?} {:?}", world.runs());
        if works {
            assert_eq!(world.outcomes(), [Outcome::Succeeded], "{trunk}");
            assert_eq!(
                (pulls[0].base.as_str(), &*pulls[0].head),
                (trunk, &*format!("issue-{issue}"))
            );
        } else {
            assert!(said.code == 1 && said.err.contains("is not a branch name"), "{said:?}");
            assert!(world.labels(issue).is_empty() && world.runs().is_empty(), "{trunk}");
        }
        for args in [&["status"][..], &["history"], &["show", "01"], &["logs", "01"]] {
            let said = world.cron(args);
            let odd = |c: char| claude_workers::domain::text::is_invisible(c) && c != '\n';
            assert!(!said.out.contains(odd) && !said.err.contains(odd), "{trunk}: {said:?}");
        }
        for (path, _) in crate::world::files(&world.dir) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(!name.starts_with("pwned"), "{trunk}: {}", path.display());
        }
    }
}
