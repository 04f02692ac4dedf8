//! Trouble on request: rules that say which exchange goes wrong, and how. The matcher is pure.

use std::time::Duration;

use serde_json::{Value, json};

/// A rule. By default it strikes once, at the first request that it matches, before anything is
/// done.
#[derive(Debug, Clone)]
pub struct Fault {
    method: String,
    path: String,
    passes: u32,
    times: u32,
    strike: Strike,
}

/// How a struck exchange ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Ending {
    /// With the true answer.
    #[default]
    True,
    /// With this answer.
    Answer { status: u16, headers: Vec<(String, String)>, body: Value },
    /// Without an answer: the connection closes before a single byte.
    Dropped,
    /// In the middle of the true answer's body.
    Truncated,
}

/// What was decided for one request. The default is no trouble at all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Strike {
    /// How often the request takes effect.
    pub(super) applied: u8,
    /// The answer is from a replica that is so many changes behind.
    pub(super) lag: u64,
    /// A list has an element twice.
    pub(super) repeats: bool,
    /// The answer is held back for so long.
    pub(super) wait: Duration,
    pub(super) ending: Ending,
}

impl Default for Strike {
    fn default() -> Self {
        Self { applied: 1, lag: 0, repeats: false, wait: Duration::ZERO, ending: Ending::True }
    }
}

impl Fault {
    fn new(method: &str, path: &str, strike: Strike) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), passes: 0, times: 1, strike }
    }

    /// Answers `status` instead of what was asked. `method` is matched whole (`*` is any), `path`
    /// anywhere in `/path?query` (as sent, without the API's prefix; empty is any).
    #[must_use]
    pub fn answer(method: &str, path: &str, status: u16) -> Self {
        let body =
            json!({"message": "injected", "documentation_url": "https://docs.github.com/rest"});
        let ending = Ending::Answer { status, headers: Vec::new(), body };
        Self::new(method, path, Strike { applied: 0, ending, ..Strike::default() })
    }

    /// Closes the connection without an answer. Matches as [`Fault::answer`] does.
    #[must_use]
    pub fn drop_connection(method: &str, path: &str) -> Self {
        let ending = Ending::Dropped;
        Self::new(method, path, Strike { applied: 0, ending, ..Strike::default() })
    }

    /// Lets the request take effect and closes the connection after half of the answer's body.
    /// Matches as [`Fault::answer`] does.
    #[must_use]
    pub fn truncate(method: &str, path: &str) -> Self {
        Self::new(method, path, Strike { ending: Ending::Truncated, ..Strike::default() })
    }

    /// Lets the request take effect and holds the answer back for so long. Matches as
    /// [`Fault::answer`] does.
    #[must_use]
    pub fn slow(method: &str, path: &str, wait: Duration) -> Self {
        Self::new(method, path, Strike::default()).late(wait)
    }

    /// Answers a read of the REST API from a replica that is so many changes of issues behind. Other
    /// requests are as always. Matches as [`Fault::answer`] does.
    #[must_use]
    pub fn stale(method: &str, path: &str, changes: u64) -> Self {
        Self::new(method, path, Strike { lag: changes, ..Strike::default() })
    }

    /// Lets the request take effect twice, as a proxy does that tries again, and gives the second
    /// answer. Matches as [`Fault::answer`] does.
    #[must_use]
    pub fn twice(method: &str, path: &str) -> Self {
        Self::new(method, path, Strike { applied: 2, ..Strike::default() })
    }

    /// Answers a list of the REST API that has moved on between two of its pages: it begins with the
    /// last element of the page before. A first page has its own last element twice. Matches as
    /// [`Fault::answer`] does.
    #[must_use]
    pub fn repeat(method: &str, path: &str) -> Self {
        Self::new(method, path, Strike { repeats: true, ..Strike::default() })
    }

    /// A header of the injected answer, such as `retry-after`.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ending::Answer { headers, .. } = &mut self.strike.ending {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The JSON body of the injected answer.
    #[must_use]
    pub fn body(mut self, json: Value) -> Self {
        if let Ending::Answer { body, .. } = &mut self.strike.ending {
            *body = json;
        }
        self
    }

    /// Holds the answer, or the lack of one, back for so long.
    #[must_use]
    pub fn late(mut self, wait: Duration) -> Self {
        self.strike.wait = wait;
        self
    }

    /// Lets the request take effect first: the caller cannot know it.
    #[must_use]
    pub fn applied(mut self) -> Self {
        self.strike.applied = 1;
        self
    }

    /// Strikes this many times instead of once.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn after(mut self, passes: u32) -> Self {
        self.passes = passes;
        self
    }

    fn matches(&self, method: &str, path_and_query: &str) -> bool {
        (self.method == "*" || self.method.eq_ignore_ascii_case(method))
            && path_and_query.contains(&self.path)
    }
}

/// What the first rule that is due says about this request; counts it down, and takes rules away
/// that have done their work.
pub(super) fn strike(rules: &mut Vec<Fault>, method: &str, path_and_query: &str) -> Option<Strike> {
    let mut found = None;
    for rule in rules.iter_mut().filter(|r| r.matches(method, path_and_query)) {
        if rule.passes > 0 {
            rule.passes -= 1;
        } else if rule.times > 0 {
            rule.times -= 1;
            found = Some(rule.strike.clone());
            break;
        }
    }
    rules.retain(|r| r.times > 0);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_as_often_as_it_says_and_is_gone() {
        let mut rules = vec![Fault::answer("POST", "/labels", 502).times(2)];
        assert_eq!(strike(&mut rules, "GET", "/repos/a/b/labels"), None);
        assert_eq!(strike(&mut rules, "POST", "/repos/a/b/pulls"), None);
        assert!(strike(&mut rules, "POST", "/repos/a/b/labels").is_some());
        assert!(strike(&mut rules, "post", "/repos/a/b/labels?x=1").is_some());
        assert_eq!(strike(&mut rules, "POST", "/repos/a/b/labels"), None);
        assert!(rules.is_empty());
    }

    #[test]
    fn a_rule_waits_its_turn() {
        let mut rules = vec![Fault::drop_connection("*", "page=").applied().after(1)];
        assert_eq!(strike(&mut rules, "GET", "/issues?page=1"), None);
        let strike = strike(&mut rules, "GET", "/issues?page=2").unwrap();
        assert_eq!(strike, Strike { ending: Ending::Dropped, ..Strike::default() });
    }

    #[test]
    fn the_first_rule_that_is_due_wins() {
        let mut rules = vec![Fault::answer("*", "", 500), Fault::answer("*", "", 503)];
        let mut status = || match strike(&mut rules, "GET", "/")?.ending {
            Ending::Answer { status, .. } => Some(status),
            _ => None,
        };
        assert_eq!((status(), status(), status()), (Some(500), Some(503), None));
    }
}
