//! Use cases: what the program does, without how it is asked or shown.
//!
//! | module | what |
//! |---|---|
//! | [`init`] | makes workers |
//! | [`assign`] | one tick: pairs idle workers with issues |
//! | [`dispatch`] | claims a worker (and an issue) and starts a supervisor |
//! | [`custody`] | which homes hold access to GitHub |
//! | `egress` | the way out of a run's jail |
//! | `hold` | the claim on an issue, against other hosts |
//! | [`supervise`] | the supervisor: a run from claim to archive |
//! | [`step`], [`publish`] | the parts of a run that talk to GitHub, each a short-lived process |
//! | [`reconcile`] | what dead supervisors left: ended, taken up again, freed |
//! | [`stop`] | what people do to a run by hand: stop, restart, reset |
//! | [`refresh`], [`remove`] | a home anew, or away |
//! | [`update`] | a newer program in the place of this one |
//! | [`queries`] | what people ask: status, history |
//! | [`archive`] | one run, under way or long over |
//! | [`asked`] | what its agent asked of the network |
//! | [`gc`] | what is kept no longer |
//! | [`drift`] | where GitHub's labels and the records disagree |
//! | [`log`], [`todos`] | what an agent says and does, now and so far |
//! | [`watching`] | waiting for the end of runs |
//! | [`doctor`] | whether everything that is needed is there |

mod anteroom;
pub mod archive;
pub mod asked;
pub mod assign;
mod chores;
mod claim;
mod context;
pub mod custody;
pub mod dispatch;
pub mod doctor;
pub mod drift;
mod egress;
mod failure;
mod filing;
pub mod gc;
mod hold;
pub mod init;
mod jailing;
mod lists;
pub mod log;
mod patience;
mod policy;
mod prepare;
mod prompt;
pub mod publish;
pub mod queries;
pub mod reconcile;
pub mod refresh;
pub mod remove;
mod room;
mod secrets;
pub mod step;
pub mod stop;
pub mod supervise;
pub mod todos;
mod trust;
pub mod turn;
mod unknown;
pub mod update;
mod verify;
pub mod watching;

pub use context::Context;
pub use failure::{Exit, Failure};
pub use unknown::repo_meant;
