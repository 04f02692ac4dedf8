//! The branch that a run publishes.

use crate::domain::{BranchName, IssueNumber};

/// `issue-N`, or `issue-N-2`, `issue-N-3`, … if the name is taken: a branch that is there already
/// is never written to.
#[must_use]
pub fn first_free_branch(issue: IssueNumber, taken: impl Fn(&BranchName) -> bool) -> BranchName {
    let mut nth = 1;
    loop {
        let name = BranchName::for_issue(issue, nth);
        if !taken(&name) {
            return name;
        }
        nth += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_passed_over() {
        let issue = IssueNumber::try_from(22).unwrap();
        let name =
            |taken: &[&str]| first_free_branch(issue, |b| taken.contains(&b.as_str())).to_string();
        assert_eq!(name(&[]), "issue-22");
        assert_eq!(name(&["issue-22", "issue-22-3"]), "issue-22-2");
        assert_eq!(name(&["issue-22", "issue-22-2"]), "issue-22-3");
    }
}
