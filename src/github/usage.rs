//! What was sent, itemised, and what is left of the rate limit.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::limits::number;

/// One request that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Method and path, such as `GET /repos/octo/app/issues (page 2)`.
    pub what: String,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
}

/// Everything that a [`GitHub`](super::GitHub) sent, repeated tries counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests sent.
    pub requests: u64,
    /// Those answered by 304: they cost nothing of the rate limit.
    pub not_modified: u64,
    /// Each of them, in order.
    pub items: Vec<Asked>,
    /// Requests left in this hour, by the last answer.
    pub remaining: Option<u64>,
    /// Requests allowed an hour.
    pub limit: Option<u64>,
    /// When the hour is over.
    pub reset: Option<Timestamp>,
    /// For how long writes have waited for their turn.
    pub waited: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counter(Mutex<Usage>);

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> Usage {
        self.lock().clone()
    }

    /// Counts a wait before a write.
    pub(super) fn waited(&self, wait: Duration) {
        self.lock().waited += wait;
    }

    /// Counts a request that got no answer.
    pub(super) fn unanswered(&self, what: String) {
        let mut usage = self.lock();
        usage.requests += 1;
        usage.items.push(Asked { what, status: None });
    }

    pub(super) fn answered(&self, what: String, status: StatusCode, headers: &HeaderMap) {
        let mut usage = self.lock();
        usage.requests += 1;
        usage.not_modified += u64::from(status == StatusCode::NOT_MODIFIED);
        usage.items.push(Asked { what, status: Some(status.as_u16()) });
        // GraphQL has a budget of its own.
        let core = headers.get("x-ratelimit-resource").is_none_or(|of| of == "core");
        if core && let Some(limit) = number(headers, "x-ratelimit-limit") {
            usage.limit = Some(limit);
            usage.remaining = number(headers, "x-ratelimit-remaining");
            usage.reset = number(headers, "x-ratelimit-reset")
                .and_then(|s| i64::try_from(s).ok())
                .and_then(|s| Timestamp::from_second(s).ok());
        }
    }
}
