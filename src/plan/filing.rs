//! The labels of an issue that an agent wants filed.

use crate::domain::{BLOCKED_LABEL, Label};

/// Which of the labels that an agent named its issue gets, as the repository spells them, and which
/// are left out. It gets none that the repository does not have, and none that means something to
/// `assign`: an agent must not give orders to agents. `ours` are those that mean something by
/// configuration.
#[must_use]
pub fn labels_to_file(
    named: &[String],
    there: &[Label],
    ours: &[&str],
) -> (Vec<String>, Vec<String>) {
    let same = |a: &str, b: &str| a.trim().to_lowercase() == b.trim().to_lowercase();
    let means_something = |label: &Label| {
        label.is_worker()
            || label.is_priority()
            || same(&label.0, BLOCKED_LABEL)
            || ours.iter().any(|own| same(&label.0, own))
    };
    let (mut put_on, mut left_out) = (Vec::new(), Vec::new());
    for name in named {
        match there.iter().find(|label| same(&label.0, name)) {
            Some(label) if !means_something(label) => {
                if !put_on.contains(&label.0) {
                    put_on.push(label.0.clone());
                }
            }
            _ => left_out.push(name.clone()),
        }
    }
    (put_on, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_gets_labels_that_are_there_and_mean_nothing_to_assign() {
        let there = [
            "Bug",
            "docs",
            "approved",
            "Ready",
            "P0",
            "priority:high",
            "Priority: odd",
            "worker:01",
            "blocked",
        ];
        let there = there.map(|l| Label(l.to_owned()));
        let named = [
            "bug",
            "BUG",
            "new",
            "Approved",
            "ready",
            "p0",
            "PRIORITY:high",
            "priority: odd",
            "Worker:01",
            "Blocked",
        ];
        let named = named.map(str::to_owned);
        let (put_on, left_out) = labels_to_file(&named, &there, &["approved", "ready"]);
        assert_eq!(put_on, ["Bug"]);
        assert_eq!(left_out, named[2..]);
    }
}
