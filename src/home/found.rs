//! What in a home opens GitHub, whoever put it there: by the names under which programs look for it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::Value;

use super::CLAUDE_LOGIN;
use super::error::Error;
use super::lived::Lived;

/// Files that hold a password or a token for git or GitHub.
const FILES: &[&str] = &[
    ".config/gh/hosts.yml",
    ".config/hub",
    ".git-credentials",
    ".config/git/credentials",
    ".netrc",
];

/// Configurations of git, which may name who knows the password, or hold it.
const GIT_CONFIGS: &[&str] = &[".gitconfig", ".config/git/config"];

/// A larger configuration of git is none that people write.
const MAX_CONFIG: u64 = 1 << 20;

/// The paths in a home that look like credentials for GitHub. What cannot be looked at counts.
///
/// # Errors
/// When the home cannot be opened.
pub fn credentials_in(home: &Path) -> Result<Vec<PathBuf>, Error> {
    let lived = Lived::open(home)?;
    let by_name = FILES.iter().map(Path::new).filter(|path| lived.holds(path));
    let mut found: Vec<PathBuf> = by_name.map(Path::to_owned).collect();
    let ssh = Path::new(".ssh");
    match lived.names(ssh) {
        Ok(names) => found.extend(names.iter().filter(|n| is_key(n)).map(|name| ssh.join(name))),
        Err(_) => found.push(ssh.to_owned()),
    }
    for config in GIT_CONFIGS.iter().map(Path::new) {
        let text = lived.read(config, MAX_CONFIG + 1);
        if text.map_or(true, |text| text.len() as u64 > MAX_CONFIG || gives_access(&text)) {
            found.push(config.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// No honest file of these is larger.
const MAX_FILE: u64 = 64 << 10;

/// The secrets in the files of a home under whose names programs keep them, each with a name for it:
/// keys of ssh, tokens and passwords for git, and Claude's own login. What is a link or cannot be
/// read holds none.
#[must_use]
pub fn secrets_in(home: &Path) -> Vec<(&'static str, SecretString)> {
    let Ok(lived) = Lived::open(home) else { return Vec::new() };
    let read = |path: &Path| -> String {
        let bytes = lived.read(path, MAX_FILE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut secrets = Vec::new();
    let mut add = |name, value: &str| secrets.push((name, SecretString::from(value.to_owned())));
    let ssh = Path::new(".ssh");
    for name in lived.names(ssh).unwrap_or_default().iter().filter(|name| is_key(name)) {
        let text = read(&ssh.join(name));
        if text.contains("PRIVATE KEY-----") {
            add("ssh-key", &text);
        }
    }
    for line in read(Path::new(".config/gh/hosts.yml")).lines() {
        if let Some(token) = line.trim().strip_prefix("oauth_token:") {
            add("github-token", token.trim().trim_matches(['"', '\'']));
        }
    }
    for file in [".git-credentials", ".config/git/credentials"] {
        for line in read(Path::new(file)).lines() {
            if let Some(password) = password_in(line) {
                add("git-password", password);
            }
        }
    }
    let netrc = read(Path::new(".netrc"));
    let mut words = netrc.split_whitespace();
    while words.any(|word| word == "password") {
        add("git-password", words.next().unwrap_or_default());
    }
    let login: Value = serde_json::from_str(&read(Path::new(CLAUDE_LOGIN))).unwrap_or_default();
    for kind in login.as_object().into_iter().flat_map(|kinds| kinds.values()) {
        for name in ["accessToken", "refreshToken"] {
            add("claude-login", kind[name].as_str().unwrap_or_default());
        }
    }
    secrets
}

/// The password in a URL: `scheme://user:password@host`.
#[must_use]
pub fn password_in(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split('/').next()?;
    authority.rsplit_once('@')?.0.split_once(':').map(|(_, password)| password)
}

/// Whether a file in `.ssh` is not one of those that are known to hold nothing secret.
fn is_key(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let harmless: [&[u8]; 3] = [b"known_hosts", b"authorized_keys", b"config"];
    !name.ends_with(b".pub") && !harmless.iter().any(|start| name.starts_with(start))
}

/// Whether a configuration of git names a helper for passwords, or holds one in a header or a URL.
fn gives_access(config: &[u8]) -> bool {
    let text = String::from_utf8_lossy(config).to_ascii_lowercase();
    text.lines().map(str::trim_start).any(|line| {
        let user_in_url = line.split("://").skip(1).any(|rest| {
            let authority = rest.split(['/', '"', ' ']).next().unwrap_or_default();
            authority.contains('@')
        });
        let header = line.split('=').next().is_some_and(|key| key.contains("extraheader"));
        !line.starts_with(['#', ';']) && (line.starts_with("[credential") || header || user_in_url)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_opens_github_is_found_and_nothing_else() {
        let user = tempfile::tempdir().unwrap();
        for (path, text, is_one) in [
            (".ssh/id_ed25519", "x", true),
            (".ssh/id_ed25519.pub", "x", false),
            (".ssh/known_hosts.old", "x", false),
            (".ssh/config", "x", false),
            (".config/gh/hosts.yml", "x", true),
            (".config/gh/config.yml", "version: 1", false),
            (".git-credentials", "", true),
            (".netrc", "x", true),
            (".gitconfig", "[user]\n\tname = Ada\n\temail = a@b.example\n# https://a@b\n", false),
            (".gitconfig", "[Credential \"https://x\"]\n\thelper = store\n", true),
            (".gitconfig", "[http]\n\textraHeader = AUTHORIZATION: basic x\n", true),
            (".gitconfig", "[url \"https://t0k@github.com/\"]\n", true),
            (".config/git/config", "[remote]\n\turl = https://a.example/@x\n", false),
            (".config/claude-workers/env.sh", "export ANTHROPIC_API_KEY=x", false),
        ] {
            let home = tempfile::tempdir().unwrap();
            let place = home.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, text).unwrap();
            let found = credentials_in(home.path()).unwrap();
            assert_eq!(found, if is_one { vec![PathBuf::from(path)] } else { vec![] }, "{text}");
            // The user's own are not taken for the agent's, whatever it has linked to.
            let linked = tempfile::tempdir().unwrap();
            symlink(home.path().join(".config"), linked.path().join(".config")).unwrap();
            symlink(home.path().join(".ssh"), linked.path().join(".ssh")).unwrap();
            assert!(credentials_in(linked.path()).unwrap().is_empty());
        }
        assert!(credentials_in(&user.path().join("gone")).is_err());
    }
}
