//! Lists of many pages, and the ones that are asked for conditionally.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::address::next_link;
use super::disk::Shelf;
use super::repos::repo_path;
use super::transport::{Answer, Ask};
use super::{Error, GitHub, RepoInfo, wire};
use crate::domain::{Issue, RepoSlug};

/// More pages than anybody has: what goes on for longer is a server that repeats itself.
const MOST_PAGES: usize = 500;

const VISIBLE: &str = "/issues?filter=all&state=open&sort=updated&direction=desc&per_page=100";
const MINE: &str = "/user/repos?affiliation=owner,collaborator,organization_member&per_page=100";
/// Those that the token's user owns.
const OWNED: &str = "/user/repos?affiliation=owner&per_page=100";

/// When the token was refused a list across repositories.
const NO_LIST_ACROSS: &str = "no list across repositories";

fn issues_of(repo: &RepoSlug) -> String {
    format!("{}/issues?state=open&sort=updated&direction=desc&per_page=100", repo_path(repo))
}

/// A page as it is kept on disk: reduced to what we read.
#[derive(Serialize, Deserialize)]
struct Page<T> {
    /// Nothing if GitHub sent none; then the page is asked for unconditionally.
    etag: Option<String>,
    next: Option<String>,
    items: Vec<T>,
}

/// What the first page's 304 says about the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Newest change first: whatever changes comes to the first page, so the others have not
    /// changed either. (What left the list from a later page is noticed when it is read again
    /// before its start; see [`GitHub::forget_lists`].)
    NewestFirst,
    /// Nothing: each page is asked for.
    Other,
}

impl GitHub {
    /// All repositories of which the token's user is owner (and, unless `owned_only`, collaborator
    /// or member). One conditional request a page. Those with a name or default branch that this program cannot
    /// hold are left out.
    pub async fn my_repos(&self, owned_only: bool) -> Result<Vec<RepoInfo>, Error> {
        let what = "the repositories this token can see";
        let path = if owned_only { OWNED } else { MINE };
        let repos = self.conditional::<wire::Repo>(path, what, Order::Other, |_| true).await?;
        let mut repos: Vec<RepoInfo> =
            repos.into_iter().filter_map(|r| RepoInfo::try_from(r).ok()).collect();
        let mut seen = HashSet::new();
        repos.retain(|r| seen.insert(r.id));
        Ok(repos)
    }

    /// The size in bytes that a list on disk tells of a repository. Sends nothing.
    #[must_use]
    pub fn listed_size(&self, repo: &RepoSlug) -> Option<u64> {
        [MINE, OWNED].into_iter().find_map(|path| {
            let mut next = Some(self.url(path));
            for _ in 0..MOST_PAGES {
                let page: Page<wire::Repo> = self.disk.load(Shelf::Cache, &next?)?;
                let mut repos = page.items.into_iter().flat_map(RepoInfo::try_from);
                if let Some(info) = repos.find(|info| info.slug == *repo) {
                    return info.size;
                }
                next = page.next;
            }
            None
        })
    }

    /// The open issues of one repository, without pull requests and without bodies, last changed
    /// first. One conditional request if nothing changed.
    pub async fn open_issues(&self, repo: &RepoSlug) -> Result<Vec<Issue>, Error> {
        let what = format!("the open issues of {repo}");
        self.issue_list(&issues_of(repo), &what, Some(repo)).await
    }

    /// The open issues of all repositories that the token can see, like
    /// [`open_issues`](Self::open_issues).
    ///
    /// # Errors
    /// One with [`Error::is_not_available`] if this token cannot list across repositories. That is
    /// remembered; see [`lists_across`](Self::lists_across).
    pub async fn visible_open_issues(&self) -> Result<Vec<Issue>, Error> {
        let listed = self.issue_list(VISIBLE, "the open issues this token can see", None).await;
        if listed.as_ref().is_err_and(Error::is_not_available) {
            self.disk.store(Shelf::Memory, NO_LIST_ACROSS, Timestamp::now());
        }
        listed
    }

    /// Whether it is worth trying to list across repositories: not within a day after the token was
    /// refused that. Sends nothing.
    #[must_use]
    pub fn lists_across(&self) -> bool {
        let refused: Option<Timestamp> = self.disk.load(Shelf::Memory, NO_LIST_ACROSS);
        let recent =
            |at| Timestamp::now().duration_since(at).abs() < SignedDuration::from_hours(24);
        !refused.is_some_and(recent)
    }

    /// Forgets the lists in which `repo`'s issues are (or all lists): the next time they are
    /// asked for in full. For when a list turned out to be stale.
    pub fn forget_lists(&self, repo: Option<&RepoSlug>) -> Result<(), Error> {
        let forgotten = match repo {
            None => self.disk.forget_all(Shelf::Cache),
            Some(repo) => [issues_of(repo).as_str(), VISIBLE]
                .into_iter()
                // Without its first page a list is asked for page by page.
                .try_for_each(|list| self.disk.forget(Shelf::Cache, &self.url(list))),
        };
        forgotten.map_err(|(path, source)| Error::State { path, source })
    }

    async fn issue_list(
        &self,
        path: &str,
        what: &str,
        repo: Option<&RepoSlug>,
    ) -> Result<Vec<Issue>, Error> {
        let keep = |issue: &wire::ListedIssue| !issue.is_pull();
        let listed = self.conditional(path, what, Order::NewestFirst, keep).await?;
        let mut seen = HashSet::new();
        let mut issues = Vec::with_capacity(listed.len());
        for issue in listed {
            // A repository that this program cannot name is one that it cannot work in.
            let Some(repo) = repo.cloned().or_else(|| issue.repo()) else { continue };
            let issue = issue
                .into_domain(repo, |_| String::new())
                .map_err(|e| self.bad_answer(what, &e.to_string()))?;
            // An issue that changes while the pages are read is on two of them.
            if seen.insert((issue.repo.clone(), issue.number)) {
                issues.push(issue);
            }
        }
        Ok(issues)
    }

    /// Reads all pages, those that did not change from the disk.
    async fn conditional<T: Serialize + DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        order: Order,
        keep: fn(&T) -> bool,
    ) -> Result<Vec<T>, Error> {
        let mut pages: Vec<(String, Page<T>, bool)> = Vec::new();
        let mut next = Some(self.url(path));
        let mut nothing_new = false;
        while let Some(url) = next {
            self.check_length(what, pages.len())?;
            let cached: Option<Page<T>> = self.disk.load(Shelf::Cache, &url);
            let (page, fresh) = match cached {
                Some(page) if nothing_new => (page, false),
                cached => self.page(&url, what, cached, keep).await?,
            };
            if pages.is_empty() {
                nothing_new = !fresh && order == Order::NewestFirst;
            }
            next = page.next.as_deref().map(|n| self.same_server(what, n)).transpose()?;
            pages.push((url, page, fresh));
        }
        let mut items = Vec::new();
        // Written last to first, when all are there: the first page speaks for the others.
        for (url, page, fresh) in pages.iter().rev() {
            if *fresh {
                self.disk.store(Shelf::Cache, url, page);
            }
        }
        for (_, page, _) in pages {
            items.extend(page.items);
        }
        Ok(items)
    }

    /// One page and whether it is another than `cached`.
    async fn page<T: DeserializeOwned>(
        &self,
        url: &str,
        what: &str,
        cached: Option<Page<T>>,
        keep: fn(&T) -> bool,
    ) -> Result<(Page<T>, bool), Error> {
        let etag = cached.as_ref().and_then(|c| c.etag.as_deref());
        let ask = Ask::get(url, what).unless(etag);
        let answer = self.send(&ask).await?;
        if let (http::StatusCode::NOT_MODIFIED, Some(cached)) = (answer.status, cached) {
            return Ok((cached, false));
        }
        let mut items: Vec<T> = self.parse(&ask, &answer)?;
        items.retain(keep);
        let etag = answer.header("etag").map(str::to_owned);
        Ok((Page { etag, next: next_of(&answer), items }, true))
    }

    /// Reads all pages, unconditionally.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
    ) -> Result<Vec<T>, Error> {
        let mut items: Vec<T> = Vec::new();
        let mut next = Some(self.url(path));
        let mut pages = 0;
        while let Some(url) = next {
            self.check_length(what, pages)?;
            pages += 1;
            let ask = Ask::get(url, what);
            let answer = self.send(&ask).await?;
            items.extend(self.parse::<Vec<T>>(&ask, &answer)?);
            next = next_of(&answer).map(|n| self.same_server(what, &n)).transpose()?;
        }
        Ok(items)
    }

    fn check_length(&self, what: &str, pages: usize) -> Result<(), Error> {
        if pages < MOST_PAGES {
            return Ok(());
        }
        Err(self.bad_answer(what, &format!("it has more than {MOST_PAGES} pages")))
    }

    fn same_server(&self, what: &str, link: &str) -> Result<String, Error> {
        self.address.same_origin(link).ok_or_else(|| {
            self.bad_answer(what, &format!("its next page is on another server: {link}"))
        })
    }
}

fn next_of(answer: &Answer) -> Option<String> {
    next_link(answer.header("link")?)
}
