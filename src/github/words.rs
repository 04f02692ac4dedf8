//! When the words of an issue were last changed. REST does not tell; GraphQL does.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::transport::Ask;
use super::{Error, GitHub};
use crate::domain::{IssueNumber, RepoSlug, text_id};

/// The words of an issue at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What they are, by [`text_id`].
    pub id: String,
    /// When title or body were last changed, in whole seconds; `None`: never since it was opened.
    pub changed_at: Option<Timestamp>,
}

/// All in one question, so that no change comes between the words and their date.
const QUESTION: &str = "\
query($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name, followRenames: false) {
    issue(number: $number) {
      title
      body
      lastEditedAt
      timelineItems(itemTypes: [RENAMED_TITLE_EVENT], last: 1) {
        nodes { ... on RenamedTitleEvent { createdAt } }
      }
    }
  }
}";

#[derive(Debug, Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Debug, Deserialize)]
struct Problem {
    message: String,
}

#[derive(Debug, Deserialize)]
struct Data {
    repository: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    issue: Option<Issue>,
}

// `lastEditedAt` may be null, but it must be there: a field that is missing is not "never".
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issue {
    title: String,
    body: String,
    #[serde(deserialize_with = "Option::deserialize")]
    last_edited_at: Option<Timestamp>,
    timeline_items: Renamings,
}

#[derive(Debug, Deserialize)]
struct Renamings {
    nodes: Vec<Renaming>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renaming {
    created_at: Timestamp,
}

impl GitHub {
    /// The words of an issue, and when they were last changed.
    ///
    /// # Errors
    /// Also when GitHub answers and leaves open what was asked: a guess would not do.
    pub async fn words(&self, repo: &RepoSlug, number: IssueNumber) -> Result<Words, Error> {
        let what = format!("the last change of {repo}#{number}");
        let asked = json!({
            "query": QUESTION,
            "variables": {"owner": repo.owner(), "name": repo.name(), "number": number},
        });
        let ask = Ask::question(self.address.graphql(), &what, asked);
        let answer: Answer = self.fetch(&ask).await?;
        if let Some(problem) = answer.errors.first() {
            return Err(self.bad_answer(&what, &problem.message));
        }
        let issue = answer.data.and_then(|data| data.repository?.issue);
        let issue = issue.ok_or_else(|| self.bad_answer(&what, "it names no issue"))?;
        let renamed = issue.timeline_items.nodes.iter().map(|renaming| renaming.created_at).max();
        Ok(Words {
            id: text_id(&issue.title, &issue.body),
            changed_at: issue.last_edited_at.max(renamed),
        })
    }
}
