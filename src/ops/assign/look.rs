//! A closer look at an issue that is next in line: its history here, what is remembered, the
//! repository, who asks, its pull requests. In this order, because the first three are free.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Report;
use super::memory::Memory;
use crate::config::ApprovedIn;
use crate::domain::{BranchName, Issue, RepoSlug};
use crate::github::{Error, GitHub};
use crate::ops::trust::{Standing, Trusted};
use crate::ops::{Context, Exit, Failure};
use crate::plan::{IssueRef, RepoFacts, Skip, Verdict, history_refuses};
use crate::store;

pub(super) struct Look<'a> {
    ctx: &'a Context,
    github: &'a GitHub,
    issues: BTreeMap<IssueRef, &'a Issue>,
    repos: BTreeMap<RepoSlug, RepoFacts>,
    trusted: Trusted<'a>,
    /// The words that were approved, where that was needed.
    approved: BTreeMap<IssueRef, String>,
    memory: Memory,
}

impl<'a> Look<'a> {
    pub(super) fn new(
        ctx: &'a Context,
        github: &'a GitHub,
        issues: &'a [Issue],
        repos: BTreeMap<RepoSlug, RepoFacts>,
    ) -> Self {
        let issues: BTreeMap<_, _> =
            issues.iter().map(|i| ((i.repo.clone(), i.number), i)).collect();
        let memory = Memory::load(ctx, issues.values().copied());
        let trusted = Trusted::new(github, &ctx.settings);
        Self { ctx, github, issues, repos, trusted, approved: BTreeMap::new(), memory }
    }

    /// The words with which an issue may start work; `None`: with any.
    pub(super) fn approved(&self, at: &IssueRef) -> Option<String> {
        self.approved.get(at).cloned()
    }

    /// The size of a repository, in bytes, if it was told on the way.
    pub(super) fn size(&self, repo: &RepoSlug) -> Option<u64> {
        self.repos.get(repo)?.size
    }

    pub(super) fn repos(&self) -> &BTreeMap<RepoSlug, RepoFacts> {
        &self.repos
    }

    /// Looks, and remembers a refusal so that it costs nothing in the next tick. A rate limit ends
    /// the tick; any other error refuses this issue and is reported.
    pub(super) async fn closer(
        &mut self,
        at: &IssueRef,
        report: &mut Report,
    ) -> Result<Verdict, Failure> {
        let Some(issue) = self.issues.get(at).copied() else { return Ok(Verdict::Eligible) };
        match self.verdict(issue).await {
            Ok(verdict) => Ok(verdict),
            Err(failure) => {
                if failure.exit == Exit::RateLimited {
                    return Err(failure);
                }
                let skip = Skip::Unanswered(failure.to_string());
                report.problems.push(failure);
                Ok(Verdict::Refused(skip))
            }
        }
    }

    async fn verdict(&mut self, issue: &Issue) -> Result<Verdict, Failure> {
        let refused = |skip| Ok(Verdict::Refused(skip));
        let now = Timestamp::now();
        let runs = store::completed_of_issue(&self.ctx.root, &issue.repo, issue.number)?;
        if let Some(skip) = history_refuses(&runs, issue, now) {
            return refused(skip);
        }
        if let Some(skip) = self.memory.refuses(issue, now) {
            return refused(skip);
        }
        if let Some(skip) = self.repository(&issue.repo).await? {
            return refused(skip);
        }
        let mut eligible = Verdict::Eligible;
        match self.trusted.standing(issue).await? {
            Standing::Author => {}
            Standing::Words(id) => {
                self.approved.insert((issue.repo.clone(), issue.number), id);
                if self.ctx.settings.approved_in == ApprovedIn::Broker {
                    eligible = Verdict::EligibleInBroker;
                }
            }
            Standing::Refused(why) => {
                self.memory.not_trusted(issue, &why, now);
                return refused(Skip::NotTrusted(why));
            }
        }
        let branch = BranchName::for_issue(issue.number, 1);
        let pulls = self.github.pulls_by_head(&issue.repo, &branch).await?;
        if let Some(pull) = pulls.first() {
            self.memory.has_pull(issue, &pull.url, now);
            return refused(Skip::HasPull(pull.url.clone()));
        }
        Ok(eligible)
    }

    /// Rights are asked for once a tick where the list of repositories did not tell.
    async fn repository(&mut self, repo: &RepoSlug) -> Result<Option<Skip>, Error> {
        if self.repos.contains_key(repo) {
            // The plan has looked at it already.
            return Ok(None);
        }
        let info = self.github.repo(repo).await?;
        let facts = RepoFacts {
            archived: info.archived || info.disabled,
            may_push: info.may_push,
            may_label: info.may_label,
            size: info.size,
        };
        self.repos.insert(repo.clone(), facts);
        Ok(match facts {
            RepoFacts { archived: true, .. } => Some(Skip::Archived),
            RepoFacts { may_push: true, may_label: true, .. } => None,
            _ => Some(Skip::NoRights),
        })
    }

    /// The lists were older than an issue on them.
    pub(super) fn forget(&self, repo: &RepoSlug) -> Result<(), Failure> {
        Ok(self.github.forget_lists(Some(repo))?)
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.memory.save(self.ctx);
    }
}
