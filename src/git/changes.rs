//! What a run's commits change: asked of the bare repository that they were imported into, with the
//! commands of git that no configuration changes.

use super::{Error, Host, Imported};
use crate::plan::{Change, Changes, is_gitmodules};

impl Host {
    /// Looks at everything between `base` and the commit to publish.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn changes(&self, imported: &Imported, base: &str) -> Result<Changes, Error> {
        let what = "look at the agent's commits";
        let args =
            ["diff-tree", "-r", "-z", "--raw", "--no-abbrev", "--no-renames", base, &imported.head];
        let raw = self.local_frugal(what, &imported.repository, &args)?;
        let unexpected =
            || Error::Unexpected { what: what.into(), why: "git's answer is odd".into() };
        let (mut entries, mut modules) = (Vec::new(), None);
        let mut fields = raw.split(|b| *b == 0).filter(|field| !field.is_empty());
        while let Some(facts) = fields.next() {
            let path = fields.next().ok_or_else(unexpected)?.to_vec();
            // `:100644 100644 <old> <new> M`
            let new = facts.split(|b| *b == b' ').nth(3).ok_or_else(unexpected)?;
            if is_gitmodules(&path) && new.iter().any(|b| *b != b'0') {
                modules = Some(String::from_utf8_lossy(new).into_owned());
            }
            entries.push(Change { path });
        }
        let submodules = match modules {
            None => Some(Vec::new()),
            Some(blob) => self.submodule_urls(imported, &blob),
        };
        let bytes =
            self.new_objects(imported, base)?.iter().filter(|o| o.is_blob()).map(|o| o.size).sum();
        Ok(Changes { entries, bytes, secrets: Vec::new(), submodules })
    }

    /// The addresses in a `.gitmodules`; `None`: it cannot be read as one.
    fn submodule_urls(&self, imported: &Imported, blob: &str) -> Option<Vec<String>> {
        let blob = format!("--blob={blob}");
        // With nothing to match against nothing is found, and git takes that for a failure.
        let args = ["config", "-z", "--no-includes", &blob, "--list"];
        let out = self.local("read .gitmodules", Some(&imported.repository), &args, &[]).ok()?;
        let settings = String::from_utf8(out).ok()?;
        let urls = settings.split('\0').filter_map(|setting| {
            let (key, value) = setting.split_once('\n').unwrap_or((setting, ""));
            key.ends_with(".url").then(|| value.to_owned())
        });
        Some(urls.collect())
    }

    /// The objects that come with the commits, in no order of use.
    fn new_objects(&self, imported: &Imported, base: &str) -> Result<Vec<NewObject>, Error> {
        let what = "list what comes with the agent's commits";
        let dir = Some(imported.repository.as_path());
        let not_base = format!("^{base}");
        let listed = self.local(
            what,
            dir,
            &["rev-list", "--objects", &imported.head, &not_base, "--"],
            &[],
        )?;
        // The id, and the path under which it was met first.
        let listed: Vec<(&[u8], &[u8])> = listed
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| match line.iter().position(|b| *b == b' ') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (line, &[][..]),
            })
            .collect();
        let ids = listed.iter().flat_map(|(id, _)| [*id, b"\n"]).collect::<Vec<_>>().concat();
        let args = ["cat-file", "--batch-check=%(objecttype) %(objectsize)"];
        let sizes = self.local(what, dir, &args, &ids)?;
        let sizes = String::from_utf8_lossy(&sizes);
        let unexpected =
            || Error::Unexpected { what: what.into(), why: "git's answer is odd".into() };
        let mut objects = Vec::with_capacity(listed.len());
        let mut lines = sizes.lines();
        for (id, path) in listed {
            let (kind, size) =
                lines.next().and_then(|l| l.split_once(' ')).ok_or_else(unexpected)?;
            objects.push(NewObject {
                id: String::from_utf8_lossy(id).into_owned(),
                path: path.to_vec(),
                kind: kind.to_owned(),
                size: size.parse().map_err(|_| unexpected())?,
            });
        }
        Ok(objects)
    }

    /// Looks into all that comes with the commits for what `holds` knows, and returns where that was
    /// found.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn search(
        &self,
        imported: &Imported,
        base: &str,
        holds: impl Fn(&[u8]) -> Option<String>,
    ) -> Result<Vec<String>, Error> {
        let what = "look into the agent's commits";
        let unexpected =
            || Error::Unexpected { what: what.into(), why: "git's answer is odd".into() };
        let objects = self.new_objects(imported, base)?;
        let (mut places, mut rest) = (Vec::new(), &objects[..]);
        while !rest.is_empty() {
            let mut size = 0;
            let fits = |object: &&NewObject| {
                size += object.size + OVERHEAD;
                size <= AT_ONCE
            };
            // One that is larger comes alone.
            let count = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(count);
            rest = later;
            let ids: String = now.iter().flat_map(|object| [object.id.as_str(), "\n"]).collect();
            let max = now.iter().map(|object| object.size + OVERHEAD).sum();
            let args = ["cat-file", "--batch"];
            let repository = &imported.repository;
            let out = self.local_up_to(what, repository, &args, ids.as_bytes(), max)?;
            let mut out = &out[..];
            for object in now {
                let start = out.iter().position(|b| *b == b'\n').ok_or_else(unexpected)? + 1;
                let end = start + usize::try_from(object.size).map_err(|_| unexpected())?;
                let content = out.get(start..end).ok_or_else(unexpected)?;
                places.extend(holds(content).map(|found| format!("{}: {found}", object.place())));
                out = out.get(end + 1..).ok_or_else(unexpected)?;
            }
        }
        Ok(places)
    }

    /// All that the commits change, as one patch. `None`: it would be larger than is kept.
    pub fn patch(&self, imported: &Imported, base: &str) -> Option<Vec<u8>> {
        let args =
            ["diff-tree", "-r", "-p", "--binary", "--no-renames", "--no-textconv", "--no-ext-diff"];
        let mut args = args.to_vec();
        args.extend([base, &imported.head]);
        self.local_frugal("make a patch", &imported.repository, &args).ok()
    }
}

/// An object that comes with the commits.
struct NewObject {
    id: String,
    /// Where it is met first; empty for commits.
    path: Vec<u8>,
    kind: String,
    size: u64,
}

/// So much is looked into at a time, in bytes.
const AT_ONCE: u64 = 16 << 20;

/// What git writes about each object beside it, at most.
const OVERHEAD: u64 = 200;

impl NewObject {
    fn is_blob(&self) -> bool {
        self.kind == "blob"
    }

    /// Where a person finds it.
    fn place(&self) -> String {
        let path = String::from_utf8_lossy(&self.path);
        match (self.kind.as_str(), path.as_ref()) {
            ("commit", _) => format!("message of commit {}", &self.id[..12]),
            ("tree", "") => "name of a file at the top".into(),
            ("tree", path) => format!("name of a file in {path}"),
            (_, path) => path.to_owned(),
        }
    }
}
