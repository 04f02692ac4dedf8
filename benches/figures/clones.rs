//! What a second worker's clone of a large repository costs, beside git's own `worktree add`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use super::Res;
use super::dispatching::{LARGE, large_repository};
use super::stage::{Stage, Workshop};
use super::table::{Table, Times};

const WORKERS: u32 = 6;

pub fn measure(workshop: &Workshop, table: &mut Table) -> Res {
    let stage = Stage::with_workers(workshop, WORKERS)?;
    stage.configure("git.fetch_max_age = '1h'")?;
    large_repository(&stage, 20_000)?;
    let words = ["-r", LARGE, "-p", "Look around."];
    // The first worker's clone makes the mirror too.
    stage.dispatch("01", &words)?;
    stage.hub.clear_exchanges();
    let repo = LARGE.parse()?;
    let mirror = stage.root.mirror(stage.hub.server_url(), &repo);
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for n in 2..=WORKERS {
        ours.add(stage.dispatch(&format!("{n:02}"), &words)?.first_instruction);
        let tree = stage.dir.path().join(format!("tree-{n}"));
        let tree_name = tree.display().to_string();
        let mut add =
            stage.workshop.git(&mirror, &["worktree", "add", "--quiet", "--detach", &tree_name]);
        let before = Instant::now();
        if !add.status()?.success() {
            return Err("git worktree add failed".into());
        }
        theirs.add(before.elapsed());
    }
    let clone = stage.root.clone_of(&"02".parse()?, &repo).join(".git");
    // The index belongs to the checkout.
    let kept = |dir: &Path| -> Res<u64> { Ok(disk_usage(dir)? - on_disk(&dir.join("index"))?) };
    let (own, tree) = (kept(&clone)?, kept(&mirror.join("worktrees/tree-2"))?);
    let history = disk_usage(&mirror.join("objects"))?;
    Table::note("history of the large repository on disk", &kib(history));
    Table::note("`git worktree add` of it, beside the checkout", &kib(tree));
    table.row(
        "a second worker's clone of it, beside the checkout",
        &kib(own),
        "no second copy of the history",
        own < history / 10,
    );
    let asked = stage.hub.exchanges().len();
    table.row("… requests for it", &asked.to_string(), "0", asked == 0);
    Table::note("`git worktree add`: time", &theirs.shown());
    let ratio = ours.median() / theirs.median();
    table.row(
        "a second worker's clone: dispatch to first instruction",
        &format!("{}; {ratio:.2} ×", ours.shown()),
        "≤ 1.5 × `git worktree add`",
        ratio <= 1.5,
    );
    Ok(())
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}

fn on_disk(path: &Path) -> Res<u64> {
    Ok(std::fs::symlink_metadata(path)?.blocks() * 512)
}

fn disk_usage(dir: &Path) -> Res<u64> {
    let mut sum = on_disk(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let measure = if entry.file_type()?.is_dir() { disk_usage } else { on_disk };
        sum += measure(&entry.path())?;
    }
    Ok(sum)
}
