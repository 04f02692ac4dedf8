//! The demo's scripted agent: it reads its prompt, edits, runs the repository's checks, commits.
//!
//! It knows the demo's three issues and nothing else. What it does, it really does, as any agent
//! does: in its clone, with git, inside its jail.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::{Env, env};
use crate::process::{command, run_bounded};

const REFUSE: &str = r#"    case $price in
        '' | *[!0-9]*)
            echo "total.sh: not a price: $price" >&2
            exit 2
            ;;
    esac
"#;

const DISCOUNT: &str = r#"discount=0
if [ "$1" = --discount ]; then
    discount=$2
    shift 2
fi
"#;

struct Edit {
    file: &'static str,
    /// The new text goes before the first line that is this one; an empty one is the end.
    before: &'static str,
    text: &'static str,
}

struct Job {
    edits: &'static [Edit],
    message: &'static str,
    pr: Option<&'static str>,
}

const JOBS: [Job; 3] = [
    Job {
        edits: &[
            Edit { file: "total.sh", before: "    sum=$((sum + price))", text: REFUSE },
            Edit {
                file: "checks.sh",
                before: "echo \"all checks passed\"",
                text: "! ./total.sh 12 abc 2>/dev/null\n",
            },
        ],
        message: "Refuse prices that are not numbers",
        pr: Some(
            "Refuse prices that are not numbers\n\n`total.sh` now ends with exit code 2 and names \
             the price. A check covers it.\n",
        ),
    },
    Job {
        edits: &[
            Edit { file: "total.sh", before: "sum=0", text: DISCOUNT },
            Edit {
                file: "total.sh",
                before: "echo \"$sum\"",
                text: "sum=$((sum - sum * discount / 100))\n",
            },
            Edit {
                file: "checks.sh",
                before: "echo \"all checks passed\"",
                text: "[ \"$(./total.sh --discount 10 200)\" = 180 ]\n",
            },
        ],
        message: "Add --discount",
        pr: None,
    },
    Job {
        edits: &[Edit {
            file: "README.md",
            before: "",
            text: "\n## Checks\n\n    ./checks.sh\n\nruns them all and says so when they pass.\n",
        }],
        message: "Say how to run the checks",
        pr: None,
    },
];

/// Does what the prompt asks, in the working directory.
///
/// # Errors
/// When the prompt is not about one of the demo's issues, or something does not work.
pub fn run(git: &Path, prompt_file: &Path) -> Result<(), String> {
    let prompt = fs::read_to_string(prompt_file).map_err(|e| format!("the prompt: {e}"))?;
    let job = prompt
        .split_once("issue #")
        .and_then(|(_, rest)| {
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        })
        .and_then(|number| JOBS.get(number.checked_sub(1)?))
        .ok_or("the prompt names no issue that I know")?;
    step("I read the issue and AGENTS.md.");
    for edit in job.edits {
        apply(edit)?;
        step(&format!("I edited {}.", edit.file));
    }
    step(&said(Path::new("./checks.sh"), &[])?);
    said(git, &["add", "--all"])?;
    said(git, &["commit", "--quiet", "--message", job.message])?;
    step(&format!("I committed: {}.", job.message));
    if let (Some(pr), Some(outbox)) = (job.pr, Env::of_process().path(env::OUTBOX)) {
        fs::write(outbox.join("pr.md"), pr).map_err(|e| format!("the outbox: {e}"))?;
    }
    println!("{}; the checks pass.", job.message);
    Ok(())
}

/// Says something, slowly enough to be watched.
fn step(line: &str) {
    println!("{line}");
    std::thread::sleep(Duration::from_millis(150));
}

fn apply(edit: &Edit) -> Result<(), String> {
    let old = fs::read_to_string(edit.file).map_err(|e| format!("{}: {e}", edit.file))?;
    let at = if edit.before.is_empty() {
        Some(old.len())
    } else {
        old.split_inclusive('\n')
            .scan(0, |at, line| {
                let start = *at;
                *at += line.len();
                Some((start, line))
            })
            .find(|(_, line)| line.trim_end() == edit.before)
            .map(|(start, _)| start)
    };
    let at = at.ok_or_else(|| format!("{} is not as I expect it", edit.file))?;
    let new = format!("{}{}{}", &old[..at], edit.text, &old[at..]);
    fs::write(edit.file, new).map_err(|e| format!("{}: {e}", edit.file))
}

/// Runs a program and returns the last line that it printed.
fn said(program: &Path, args: &[&str]) -> Result<String, String> {
    let mut child = command(program);
    child.args(args).envs(Env::of_process().all());
    let out =
        run_bounded(&mut child, b"", 1 << 20).map_err(|e| format!("{}: {e}", program.display()))?;
    if !out.status.success() {
        return Err(format!("{} failed: {}", program.display(), out.stderr));
    }
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    Ok(text.lines().last().unwrap_or_default().to_owned())
}
