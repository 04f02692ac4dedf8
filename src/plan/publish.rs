//! What of an agent's work may be published, whatever it says.

use crate::domain::{BranchName, Run, text};

/// What a run's commits change, as the host's git tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Everything that differs between the commit that the run began at and the one to publish; a
    /// rename is two of these.
    pub entries: Vec<Change>,
    /// Bytes of all files that the commits bring along, also of those that a later one removes.
    pub bytes: u64,
    /// Where known secrets are.
    pub secrets: Vec<String>,
    /// The addresses of submodules, if those were changed; `None`: they cannot be read.
    pub submodules: Option<Vec<String>>,
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path in the repository: any bytes.
    pub path: Vec<u8>,
}

/// The configured rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishRules {
    /// Paths that may differ.
    pub max_files: u64,
    /// Bytes that may come along.
    pub max_bytes: u64,
    /// Whether protected paths may be changed in this repository.
    pub allow_protected: bool,
}

/// Why something is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The name is none that this run may write.
    Branch(String),
    /// Too many paths: how many, of how many allowed.
    Files(u64, u64),
    /// Too many bytes: how many, of how many allowed.
    Bytes(u64, u64),
    /// Known secrets: where.
    Secrets(Vec<String>),
    /// Paths that must not be changed.
    Protected(Vec<String>),
    /// Submodules from places that are not plain.
    Submodules(Vec<String>),
}

/// So many paths are named.
const SHOWN: usize = 20;

impl Refusal {
    /// In words for people.
    #[must_use]
    pub fn why(&self) -> String {
        let listed = |what: &str, all: &[String]| {
            let mut lines = vec![what.to_owned()];
            lines.extend(
                all.iter().take(SHOWN).map(|one| format!("- {}", text::one_line(one, 200))),
            );
            let more = all.len().saturating_sub(SHOWN);
            lines.extend((more > 0).then(|| format!("- and {more} more")));
            lines.join("\n")
        };
        match self {
            Self::Branch(name) => {
                format!("the branch {} is not this run's to write", text::one_line(name, 100))
            }
            Self::Files(n, max) => {
                format!("{n} files are changed, and [publish] max_files is {max}")
            }
            Self::Bytes(n, max) => {
                format!("the commits bring {n} bytes along, and [publish] max_bytes is {max}")
            }
            Self::Secrets(places) => listed("known secrets are in what was committed:", places),
            Self::Protected(paths) => listed("protected paths are changed:", paths),
            Self::Submodules(urls) => {
                listed("submodules come from somewhere else than by https:", urls)
            }
        }
    }

    /// Whether `allow_protected` would let it through.
    #[must_use]
    pub fn is_of_protection(&self) -> bool {
        matches!(self, Self::Protected(_) | Self::Submodules(_))
    }
}

/// What speaks against publishing.
#[must_use]
pub fn refusals(run: &Run, changes: &Changes, rules: PublishRules) -> Vec<Refusal> {
    let mut refused = Vec::new();
    if let Some(branch) = run.branch.as_ref().filter(|branch| !is_of(run, branch)) {
        refused.push(Refusal::Branch(branch.to_string()));
    }
    let files = changes.entries.len() as u64;
    if files > rules.max_files {
        refused.push(Refusal::Files(files, rules.max_files));
    }
    if changes.bytes > rules.max_bytes {
        refused.push(Refusal::Bytes(changes.bytes, rules.max_bytes));
    }
    if !changes.secrets.is_empty() {
        refused.push(Refusal::Secrets(changes.secrets.clone()));
    }
    if rules.allow_protected {
        return refused;
    }
    let shown = |change: &Change| String::from_utf8_lossy(&change.path).into_owned();
    let guarded: Vec<String> =
        changes.entries.iter().filter(|change| is_protected(&change.path)).map(shown).collect();
    if !guarded.is_empty() {
        refused.push(Refusal::Protected(guarded));
    }
    let odd = match &changes.submodules {
        None => vec![".gitmodules cannot be read".to_owned()],
        Some(urls) => urls.iter().filter(|url| !is_plain(url)).cloned().collect(),
    };
    if !odd.is_empty() {
        refused.push(Refusal::Submodules(odd));
    }
    refused
}

/// Whether this is the branch of this run: of its issue, or its own. Never the one it starts from.
fn is_of(run: &Run, branch: &BranchName) -> bool {
    let own = match run.issue {
        None => *branch == BranchName::for_run(&run.run),
        Some(issue) => {
            let first = BranchName::for_issue(issue, 1);
            let nth = branch.as_str().strip_prefix(first.as_str());
            nth.is_some_and(|rest| {
                let nth = rest.strip_prefix('-').and_then(|n| n.parse::<u32>().ok());
                rest.is_empty() || nth.is_some_and(|n| *branch == BranchName::for_issue(issue, n))
            })
        }
    };
    own && run.base.as_ref() != Some(branch)
}

/// What is run, or decides who is asked, before anybody has looked. Each is also protected as what
/// it is not: a link or a submodule in its place.
const AT_THE_TOP: &[&[&str]] = &[
    &[".github", "workflows"],
    &[".github", "actions"],
    &["CODEOWNERS"],
    &[".github", "CODEOWNERS"],
    &["docs", "CODEOWNERS"],
];

/// Agents look for their configuration in every directory that they work in.
const ANYWHERE: &[&str] = &[
    ".claude",
    ".mcp.json",
    ".codex",
    ".gemini",
    ".opencode",
    "opencode.json",
    "opencode.jsonc",
    ".pi",
];

/// Whether a path is protected, on any file system that it may be checked out on.
#[must_use]
pub fn is_protected(path: &[u8]) -> bool {
    // A backslash separates names where the path may end up on Windows.
    let names: Vec<String> = path
        .split(|b| matches!(b, b'/' | b'\\'))
        .filter(|name| !name.is_empty())
        .map(folded)
        .collect();
    let top = AT_THE_TOP.iter().any(|place| {
        place.len() <= names.len() && place.iter().zip(&names).all(|(a, b)| same(a, b))
    });
    let instead = names.len() == 1 && same(".github", &names[0]);
    top || instead || names.iter().any(|name| ANYWHERE.iter().any(|known| same(known, name)))
}

/// Whether `.gitmodules` is meant by a path.
#[must_use]
pub fn is_gitmodules(path: &[u8]) -> bool {
    same(".gitmodules", &folded(path))
}

/// A name as file systems compare it that do not tell all names apart: HFS+ ignores some characters,
/// NTFS dots and spaces at the end and what follows a colon, and both the case.
fn folded(name: &[u8]) -> String {
    let ignored = |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let text = String::from_utf8_lossy(name);
    let text: String = text.chars().filter(|c| !ignored(*c)).flat_map(char::to_lowercase).collect();
    text.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']).to_owned()
}

/// Whether a folded name means `known`, also by the short name that NTFS gives it.
fn same(known: &str, folded: &str) -> bool {
    let known = known.to_ascii_lowercase();
    if folded == known {
        return true;
    }
    let (name, ending) = match known.trim_start_matches('.').rsplit_once('.') {
        Some((name, ending)) => (name, Some(&ending[..ending.len().min(3)])),
        None => (known.trim_start_matches('.'), None),
    };
    let (short, short_ending) = match folded.split_once('.') {
        Some((name, ending)) => (name, Some(ending)),
        None => (folded, None),
    };
    let letters: String = name.chars().filter(|c| *c != '.').take(6).collect();
    short_ending == ending
        && known != folded
        && short.strip_prefix(&letters).and_then(|rest| rest.strip_prefix('~')).is_some_and(|nth| {
            !nth.is_empty() && nth.len() < 5 && nth.bytes().all(|b| b.is_ascii_digit())
        })
}

/// Whether the address of a submodule is one that everybody can look at: https without a name or
/// password, or a neighbour in the same place.
fn is_plain(url: &str) -> bool {
    let sound = url.bytes().all(|b| b.is_ascii_graphic());
    let neighbour = url.starts_with("./") || url.starts_with("../");
    let by_https = url.strip_prefix("https://").is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && !host.starts_with('-') && !host.contains('@')
    });
    sound && (neighbour || by_https)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_paths_are_known_by_whatever_name_a_file_system_takes_for_theirs() {
        for path in [
            ".github/workflows/ci.yml",
            ".github/workflows",
            ".github/actions/x/action.yml",
            ".GitHub/WorkFlows/ci.yml",
            ".github\\workflows\\ci.yml",
            ".github./workflows /ci.yml",
            ".git\u{200c}hub/work\u{feff}flows/ci.yml",
            "GITHUB~1/workflows/ci.yml",
            ".github/WORKFL~1/ci.yml",
            ".github//workflows/ci.yml",
            ".github",
            ".GITHUB::$INDEX_ALLOCATION/workflows/x",
            "CODEOWNERS",
            "codeowners",
            ".github/CODEOWNERS",
            "docs/CodeOwners",
            ".claude/settings.json",
            ".claude",
            "sub/dir/.claude/hooks/x",
            ".mcp.json",
            "sub/.MCP.json",
            "MCP~1.jso",
            "CLAUDE~1/settings.json",
            ".codex/config.toml",
            ".gemini/settings.json",
            "opencode.json",
            "OPENCO~2.JSO",
            ".opencode/agent.md",
        ] {
            assert!(is_protected(path.as_bytes()), "{path}");
        }
        for path in [
            "CLAUDE.md",
            "AGENTS.md",
            ".github/ISSUE_TEMPLATE/bug.md",
            ".github/dependabot.yml",
            "src/.github/workflows/ci.yml",
            "workflows/ci.yml",
            "src/CODEOWNERS",
            "claude/settings.json",
            "claude~1x/a",
            ".claude.json.md",
            ".githubx/workflows/x",
            "docs/x",
            "",
        ] {
            assert!(!is_protected(path.as_bytes()), "{path}");
        }
        assert!(is_protected(b".claude/\xff\xfe"));
        assert!(is_gitmodules(b".GitModules") && is_gitmodules(b"GITMOD~1"));
        assert!(!is_gitmodules(b"sub/.gitmodules"));
    }

    fn run(issue: Option<u64>, branch: &str, base: &str) -> Run {
        let issue = issue.map_or("null".to_owned(), |n| n.to_string());
        let json = format!(
            r#"{{"version":1,"run":"20261121T071500-7f3a","worker":"01","kind":"implement",
            "repo":"o/a","issue":{issue},"prompt":null,"model":null,"executor":"x",
            "branch":"{branch}","base":"{base}","attempt":1,"phase":"verifying",
            "phaseAt":"2026-11-21T07:15:00Z","startedAt":"2026-11-21T07:15:00Z","pid":null,
            "pidStart":null,"bootId":null,"sessionId":null}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn each_rule_refuses_what_it_is_for_and_nothing_else() {
        let rules = PublishRules { max_files: 2, max_bytes: 10, allow_protected: false };
        let changes = |paths: &[&str], bytes, urls: Option<&[&str]>| Changes {
            entries: paths.iter().map(|p| Change { path: p.as_bytes().to_vec() }).collect(),
            bytes,
            secrets: Vec::new(),
            submodules: urls.map(|urls| urls.iter().map(|u| (*u).to_owned()).collect()),
        };
        let of =
            |changes: &Changes, rules| refusals(&run(Some(7), "issue-7", "main"), changes, rules);
        assert_eq!(of(&changes(&["a", "b"], 10, Some(&[])), rules), []);
        assert_eq!(
            of(&changes(&["a", "b", "c"], 11, Some(&[])), rules),
            [Refusal::Files(3, 2), Refusal::Bytes(11, 10)]
        );
        let guarded = changes(&["a", ".claude/x"], 1, Some(&["https://h/x", "ext::sh", "../y"]));
        assert_eq!(
            of(&guarded, rules),
            [
                Refusal::Protected(vec![".claude/x".into()]),
                Refusal::Submodules(vec!["ext::sh".into()]),
            ]
        );
        assert_eq!(of(&guarded, PublishRules { allow_protected: true, ..rules }), []);
        let told = Changes { secrets: vec!["a".into()], ..changes(&["a"], 1, Some(&[])) };
        let allowed = PublishRules { allow_protected: true, ..rules };
        assert_eq!(of(&told, allowed), [Refusal::Secrets(vec!["a".into()])]);
        let unread = changes(&["a"], 1, None);
        assert!(of(&unread, rules)[0].why().contains(".gitmodules cannot be read"));
        for (url, fine) in [
            ("https://github.com/o/n.git", true),
            ("./n", true),
            ("https://t0ken@github.com/o/n", false),
            ("http://h/n", false),
            ("git@github.com:o/n", false),
            ("file:///etc", false),
            ("/etc", false),
            ("-u./x", false),
            ("https://h/\u{202e}x", false),
            ("https://-x/", false),
            ("", false),
        ] {
            assert_eq!(is_plain(url), fine, "{url}");
        }
    }

    #[test]
    fn only_the_runs_own_branch_is_written() {
        let rules = PublishRules { max_files: 2, max_bytes: 10, allow_protected: false };
        let changes = Changes { submodules: Some(vec![]), ..Changes::default() };
        for (issue, branch, base, fine) in [
            (Some(7), "issue-7", "main", true),
            (Some(7), "issue-7-2", "main", true),
            (Some(7), "issue-70", "main", false),
            (Some(7), "issue-7-1", "main", false),
            (Some(7), "issue-7-02", "main", false),
            (Some(7), "issue-7-x", "main", false),
            (Some(7), "issue-7", "issue-7", false),
            (Some(7), "task-20261121t071500-7f3a", "main", false),
            (None, "task-20261121t071500-7f3a", "main", true),
            (None, "task-20261121t071500-7f3b", "main", false),
            (None, "issue-7", "main", false),
        ] {
            let refused = refusals(&run(issue, branch, base), &changes, rules);
            assert_eq!(refused.is_empty(), fine, "{issue:?} {branch} {base}");
        }
    }

    #[test]
    fn names_in_a_refusal_are_tame_and_few() {
        let paths: Vec<String> = (0..50).map(|n| format!(".claude/\u{1b}[2J{n}\nx")).collect();
        let why = Refusal::Protected(paths).why();
        assert!(!why.contains('\u{1b}') && why.ends_with("- and 30 more"), "{why}");
        assert_eq!(why.lines().count(), 22);
    }
}
