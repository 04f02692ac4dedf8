//! Whether `assign` can read and write what it keeps below the root.

use super::{Check, Grade, check};
use crate::ops::dispatch::fresh_number;
use crate::ops::init::load_values;
use crate::ops::{Context, Failure};
use crate::store::{self, try_writing};

/// Nothing if there is no state yet; what is not there is made when it is needed.
pub(super) fn state(ctx: &Context) -> Vec<Check> {
    let pool = ctx.root.pool();
    if std::fs::symlink_metadata(&pool).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        return Vec::new();
    }
    let mut wrong: Vec<Failure> = Vec::new();
    let mut note = |tried: Result<(), Failure>| {
        if let Err(failure) = tried {
            wrong.push(failure);
        }
    };
    if let Err(e) = try_writing(&pool) {
        // All else would say the same.
        return vec![failed(e.into())];
    }
    note(try_writing(&ctx.root.github()).map_err(Failure::from));
    note(store::is_locked(&ctx.root.assign_lock()).map(drop).map_err(Failure::from));
    if ctx.settings.claims {
        note(store::host_id(&ctx.root, fresh_number).map(drop).map_err(Failure::from));
    }
    for id in store::ids(&ctx.root).unwrap_or_default() {
        let record = ctx.root.record(&id);
        for dir in [record.dir().to_owned(), record.completed()] {
            note(try_writing(&dir).map_err(Failure::from));
        }
        note(load_values(&ctx.root, &id).map(drop));
    }
    if wrong.is_empty() {
        let found = format!("{} can be read and written", pool.display());
        return vec![check("state", Grade::Ok, found, None)];
    }
    wrong.into_iter().map(failed).collect()
}

fn failed(why: Failure) -> Check {
    Check { what: "state".into(), grade: Grade::Failure, found: why.message, mend: why.hint }
}
