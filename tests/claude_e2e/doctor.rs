//! `doctor`, in a world where everything is there.

use serde_json::Value;

use crate::world::{Way, World};

#[test]
fn everything_in_place_is_ok() {
    let world = World::new(Way::Configured, "");
    let crontab = world.user_home().join("bin/crontab");
    std::fs::create_dir(crontab.parent().unwrap()).unwrap();
    std::fs::write(&crontab, "#!/bin/sh\necho '*/5 * * * * /usr/bin/claude-workers assign -q'\n")
        .unwrap();
    std::os::unix::fs::symlink("/bin/true", world.user_home().join("bin/true")).unwrap();
    std::fs::set_permissions(&crontab, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let answer: Value = serde_json::from_str(&world.must(&["doctor", "--json"])).unwrap();
    let checks: Vec<(&str, &str, &str)> = answer["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| [&c["what"], &c["grade"], &c["found"]].map(|v| v.as_str().unwrap()).into())
        .collect();
    let found = |what: &str| {
        let (_, grade, found) = checks
            .iter()
            .find(|(w, _, _)| *w == what)
            .unwrap_or_else(|| panic!("{what} is not in {checks:#?}"));
        format!("{grade} {found}")
    };
    println!("{checks:#?}");
    assert!(found("configuration").starts_with("ok "));
}
