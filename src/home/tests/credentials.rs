//! What is copied, and what is left out.

use super::*;

#[test]
fn what_is_not_a_file_of_the_tree_is_left_out_and_reported() {
    let place = Place::new();
    place.put("elsewhere/key", "not ours");
    place.user(".ssh/config.d/real/main", "Host *\n");
    place.link(".ssh/inside", "config.d/real/main");
    place.link(".ssh/inside-absolute", place.path("user/.ssh/config.d/real/main"));
    place.link(".ssh/chain", "inside");
    place.link(".ssh/dangling", "nothing");
    place.link(".ssh/circle", "circle");
    place.link(".ssh/outside", "../.gitconfig");
    place.link(".ssh/outside-absolute", place.path("elsewhere/key"));
    place.link(".ssh/outside-dir", place.path("elsewhere"));
    place.link(".ssh/up", "..");
    place.link(".ssh/self", ".");
    place.link(".ssh/real", "config.d/real");
    place.link(".ssh/null", "/dev/null");
    let _socket = UnixListener::bind(place.path("user/.ssh/agent")).unwrap();
    nix::unistd::mkfifo(&place.path("user/.ssh/pipe"), Mode::S_IRWXU).unwrap();
    place.link(".ssh/to-pipe", "pipe");

    let report = place.create().unwrap();
    for name in ["inside", "inside-absolute", "chain"] {
        assert_eq!(place.read(&format!(".ssh/{name}")), "Host *\n");
        let copy = fs::symlink_metadata(place.path("root/01/.ssh").join(name)).unwrap();
        assert!(copy.is_file(), "{name}");
    }
    assert!(matches!(why(&report, ".ssh/dangling"), Why::Dangling));
    assert!(matches!(why(&report, ".ssh/circle"), Why::Dangling));
    for name in ["outside", "outside-absolute", "outside-dir", "up", "null"] {
        assert!(matches!(why(&report, &format!(".ssh/{name}")), Why::LeavesTree), "{name}");
    }
    assert!(matches!(why(&report, ".ssh/self"), Why::DirectoryLink));
    assert!(matches!(why(&report, ".ssh/real"), Why::DirectoryLink));
    assert!(matches!(why(&report, ".ssh/agent"), Why::Socket));
    assert!(matches!(why(&report, ".ssh/pipe"), Why::Fifo));
    assert!(matches!(why(&report, ".ssh/to-pipe"), Why::Fifo));
    assert_eq!(report.skipped.len(), 12);
    let mut copied: Vec<_> = fs::read_dir(place.path("root/01/.ssh"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    copied.sort();
    assert_eq!(copied, ["chain", "config.d", "id_ed25519", "inside", "inside-absolute"]);
    let said = report.skipped.iter().map(ToString::to_string).find(|s| s.contains(".ssh/agent "));
    assert!(said.unwrap().ends_with(".ssh/agent was not copied: a socket"));
}

#[test]
fn a_very_deep_tree_is_cut() {
    let place = Place::new();
    place.user(&format!(".ssh/{}key", "d/".repeat(16)), "kept");
    place.user(&format!(".ssh/{}key", "d/".repeat(17)), "too deep");
    let report = place.create().unwrap();
    assert_eq!(place.read(&format!(".ssh/{}key", "d/".repeat(16))), "kept");
    assert!(matches!(report.skipped[..], [Skipped { why: Why::TooDeep, .. }]), "{report:?}");
}

#[test]
fn dotfiles_that_are_links_are_followed_inside_the_users_home_only() {
    let place = Place::new();
    for name in [".gitconfig", ".ssh"] {
        fs::rename(place.path("user").join(name), place.path("user").join(&name[1..])).unwrap();
    }
    place.link(".gitconfig", "gitconfig");
    place.link(".ssh", "ssh");
    place.create().unwrap();
    assert!(place.read(".gitconfig").contains("Ada"));
    assert_eq!(place.read(".ssh/id_ed25519"), "a private key\n");

    let place = Place::new();
    for name in [".gitconfig", ".ssh"] {
        fs::rename(place.path("user").join(name), place.path(&name[1..])).unwrap();
        place.link(name, place.path(&name[1..]));
    }
    let report = place.create().unwrap();
    assert!(matches!(why(&report, ".gitconfig"), Why::LeavesTree));
    assert!(matches!(why(&report, ".ssh"), Why::LeavesTree));
    assert!(!place.path("root/01/.gitconfig").exists() && !place.path("root/01/.ssh").exists());
}

#[test]
fn a_credential_of_the_wrong_kind_is_left_out() {
    let place = Place::new();
    fs::remove_file(place.path("user/.gitconfig")).unwrap();
    fs::create_dir(place.path("user/.gitconfig")).unwrap();
    fs::remove_dir_all(place.path("user/.ssh")).unwrap();
    place.user(".ssh", "a file");
    let report = place.create().unwrap();
    assert!(matches!(why(&report, ".gitconfig"), Why::WrongKind));
    assert!(matches!(why(&report, ".ssh"), Why::WrongKind));
}

#[test]
fn what_is_missing_is_a_note() {
    let mut place = Place::new();
    fs::remove_dir_all(place.path("user")).unwrap();
    place.value("GH_TOKEN", "");
    let report = place.create().unwrap();
    let notes = report.notes.join("\n");
    for part in ["GH_TOKEN is not set", "no key", ".gitconfig:", ".ssh:", ".config/gh:"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert_eq!(report.notes.len(), 5);
    assert!(!place.read(".config/claude-workers/env.sh").contains("GH_TOKEN"));
}

#[test]
fn nothing_is_copied_from_an_empty_list() {
    let mut place = Place::new();
    place.credentials.clear();
    place.value("GH_TOKEN", "t0ken");
    let report = place.create().unwrap();
    assert!(report.notes.is_empty() && report.skipped.is_empty(), "{report:?}");
    assert!(!place.path("root/01/.gitconfig").exists());
    assert!(!place.path("root/01/.config/gh").exists());
    assert!(!place.read(".config/claude-workers/env.sh").contains("t0ken"));
}

#[test]
fn the_login_of_claude_is_never_copied_and_the_note_names_the_alternative() {
    let mut place = Place::new();
    place.user(".claude/.credentials.json", "{}");
    let report = place.create().unwrap();
    let note = report.notes.iter().find(|n| n.contains(".credentials.json")).unwrap();
    assert!(note.contains("can be used once"), "{note}");
    assert!(note.contains("`claude setup-token`") && note.contains("CLAUDE_CODE_OAUTH_TOKEN"));
    assert!(!place.path("root/01/.claude/.credentials.json").exists());

    fs::remove_dir_all(place.path("root")).unwrap();
    place.value("CLAUDE_CODE_OAUTH_TOKEN", "t0ken");
    let report = place.create().unwrap();
    assert!(!report.notes.iter().any(|n| n.contains(".credentials.json")), "{report:?}");
    assert!(!place.path("root/01/.claude/.credentials.json").exists());
}
