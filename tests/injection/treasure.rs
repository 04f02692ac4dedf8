//! The secrets that are planted, and finding them again in whatever form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// One for each place, told apart by their names.
#[derive(Debug, Clone, Copy)]
pub struct Treasure {
    pub name: &'static str,
    pub value: &'static str,
}

/// What the host signs in to GitHub with.
pub const TOKEN: &str = "ghp_TREASUREtoken4b1f9c27e8d03a65";
/// The model's key: it is in the home, because the agent needs it.
pub const KEY: &str = "sk-ant-TREASUREkey58c1d7e02fa94b36";
/// In a file of another worker's home, which nobody knows to be a secret.
pub const NEIGHBOUR: &str = "TREASUREneighbour91e6a0c3d72b";
/// In another worker's environment.
pub const ENVIRON: &str = "TREASUREenviron3c8e15b7f0d2";
/// In the user's own home.
pub const SSH: &str = "TREASUREssh6d2f80a9c4e17b53";
/// In a private repository, whose mirror is on this machine.
pub const VAULT: &str = "TREASUREvaulte07b49d1c6f823";

/// What is not in the jail.
pub const OUTSIDE: [Treasure; 5] = [
    Treasure { name: "the token", value: TOKEN },
    Treasure { name: "the neighbour's file", value: NEIGHBOUR },
    Treasure { name: "the host's environment", value: ENVIRON },
    Treasure { name: "the user's key", value: SSH },
    Treasure { name: "the private repository", value: VAULT },
];

/// The value in all forms that the redaction knows, and its middle; with `disguised`, those too that
/// it does not.
fn forms(value: &str, disguised: bool) -> Vec<String> {
    let percent = |hex: &str| -> String {
        hex.as_bytes().chunks(2).flat_map(|b| ['%', char::from(b[0]), char::from(b[1])]).collect()
    };
    let reversed: String = value.chars().rev().collect();
    let plain = if disguised { vec![value.to_owned(), reversed] } else { vec![value.to_owned()] };
    let mut forms = Vec::new();
    for value in plain {
        for digits in [hex(&value), hex(&value).to_uppercase()] {
            forms.push(percent(&digits));
            forms.push(digits);
        }
        for (before, cut) in [(0, 0), (1, 2), (2, 3)] {
            let whole = format!("{}{value}", "x".repeat(before));
            let known = whole.len() * 8 / 6;
            forms.push(BASE64.encode(whole)[cut..known].to_owned());
        }
        if disguised {
            // As a name, in which there is neither case nor anything but letters and digits.
            forms.push(value.to_lowercase());
            forms.push(value[value.len() / 3..].to_owned());
        }
        forms.push(value);
    }
    forms
}

fn hex(text: &str) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    text.bytes().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn holds(bytes: &[u8], form: &str) -> bool {
    memchr::memmem::find(bytes, form.as_bytes()).is_some()
}

/// Whether it is in there, plainly or in disguise.
pub fn is_in(value: &str, bytes: &[u8]) -> bool {
    forms(value, true).iter().any(|form| holds(bytes, form))
}

/// Panics if anything is in there that was never in the jail, in any form.
#[track_caller]
pub fn nothing_from_outside(bytes: &[u8], place: &str) {
    for Treasure { name, value } in OUTSIDE {
        for form in forms(value, true) {
            assert!(!holds(bytes, &form), "{name} as {form} in {place}: {}", around(bytes, &form));
        }
    }
}

/// Panics if the model's key is in there in a form that is known to the redaction.
#[track_caller]
pub fn no_key(bytes: &[u8], place: &str) {
    for form in forms(KEY, false) {
        assert!(!holds(bytes, &form), "the key as {form} in {place}: {}", around(bytes, &form));
    }
}

fn around(bytes: &[u8], form: &str) -> String {
    let at = memchr::memmem::find(bytes, form.as_bytes()).unwrap_or_default();
    let (start, end) = (at.saturating_sub(100), (at + form.len() + 50).min(bytes.len()));
    String::from_utf8_lossy(&bytes[start..end]).into_owned()
}

#[test]
fn each_form_is_found() {
    let reversed: String = KEY.chars().rev().collect();
    let hidden = BASE64.encode(format!("ab{reversed}"));
    for text in [KEY.to_owned(), reversed, hidden, KEY.to_lowercase()] {
        assert!(is_in(KEY, format!("<{text}>").as_bytes()), "{text}");
    }
    assert!(!is_in(KEY, TOKEN.as_bytes()));
}
