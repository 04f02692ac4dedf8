//! What must be readable for a program to run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The paths outside `/usr` that must be visible for `program` to run: the file that its links lead
/// to, the `node_modules` that it is part of, and the interpreter of a script. Empty for a program
/// of the system. `find` looks up an interpreter named through `env`.
pub fn needed_to_run(
    program: &Path,
    find: &mut dyn FnMut(&str) -> Option<PathBuf>,
) -> Vec<PathBuf> {
    let mut needed = BTreeSet::new();
    collect(program, find, &mut needed, 0);
    needed.into_iter().collect()
}

fn collect(
    program: &Path,
    find: &mut dyn FnMut(&str) -> Option<PathBuf>,
    needed: &mut BTreeSet<PathBuf>,
    depth: u8,
) {
    let Ok(real) = fs::canonicalize(program) else { return };
    for path in [program, &real] {
        if !path.starts_with("/usr") && !path.starts_with("/bin") {
            needed.insert(path.to_owned());
        }
    }
    if let Some(modules) = real.ancestors().filter(|p| p.ends_with("node_modules")).last()
        && !modules.starts_with("/usr")
    {
        needed.insert(modules.to_owned());
    }
    if depth < 3
        && let Some(interpreter) = interpreter(&real, find)
    {
        collect(&interpreter, find, needed, depth + 1);
    }
}

/// The interpreter that a `#!` line names.
fn interpreter(script: &Path, find: &mut dyn FnMut(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let mut start = Vec::new();
    fs::File::open(script).ok()?.take(256).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    let first = Path::new(words.next()?);
    if first.ends_with("env") {
        let name = words.find(|w| !w.starts_with('-') && !w.contains('='))?;
        return find(name);
    }
    Some(first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_system_program_needs_nothing_more() {
        assert!(needed_to_run(Path::new("/usr/bin/env"), &mut |_| None).is_empty());
    }

    #[test]
    fn a_node_program_needs_its_modules_and_its_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let package = root.join("lib/node_modules/@x/agent");
        fs::create_dir_all(&package).unwrap();
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::write(package.join("cli.js"), "#!/usr/bin/env -S node\n").unwrap();
        fs::write(root.join("bin/node"), "").unwrap();
        symlink("../lib/node_modules/@x/agent/cli.js", root.join("bin/agent")).unwrap();
        let node = root.join("bin/node");
        let needed = needed_to_run(&root.join("bin/agent"), &mut |name| {
            (name == "node").then(|| node.clone())
        });
        assert!(needed.contains(&root.join("lib/node_modules")));
        assert!(needed.contains(&node));
        assert!(needed.contains(&root.join("bin/agent")));
    }
}
