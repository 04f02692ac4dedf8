//! The repository of the demo: a price calculator in shell, with tests, and three things to do.

use crate::fakehub::{FakeHub, FakeHubError, NewIssue, NewRepo};

pub(super) const REPO: &str = "you/corner-shop";
pub(super) const TOKEN: &str = "ghp_demo0000000000000000000000000000demo";

const README: &str = "\
# corner-shop

Adds up prices:

    ./total.sh 120 80

Prices are whole cents.
";

const TOTAL: &str = "\
#!/bin/sh
# Adds up the prices given as arguments, in cents.
sum=0
for price in \"$@\"; do
    sum=$((sum + price))
done
echo \"$sum\"
";

const TESTS: &str = "\
#!/bin/sh
# Runs every check; the first that fails ends it.
set -e
cd \"$(dirname \"$0\")\"
[ \"$(./total.sh 120 80)\" = 200 ]
[ \"$(./total.sh)\" = 0 ]
echo \"all checks passed\"
";

const AGENTS: &str = "\
# For agents

- Keep it POSIX shell.
- Every change of behaviour gets a check in `checks.sh`; run it before you commit.
";

/// Makes users, repository and issues.
pub(super) fn open(hub: &FakeHub) -> Result<(), FakeHubError> {
    hub.add_user("you")?;
    hub.add_token("you", TOKEN, Some("repo"))?;
    let repo = NewRepo::new(REPO)
        .default_branch("trunk")
        .file("README.md", README)
        .file("AGENTS.md", AGENTS)
        .file("total.sh", TOTAL)
        .file("checks.sh", TESTS);
    hub.add_repo(&repo)?;
    let issues = [
        (
            "Refuse prices that are not numbers",
            "`./total.sh 12 abc` should print an error and exit with 2.",
        ),
        (
            "A --discount option",
            "`./total.sh --discount 10 200` should take ten per cent off: 180.",
        ),
        ("Say in the README how to run the checks", "New people do not find `checks.sh`."),
    ];
    for (title, body) in issues {
        hub.add_issue(REPO, &NewIssue::new("you", title).body(body))?;
    }
    Ok(())
}
