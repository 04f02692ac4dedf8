//! A configured command: argv with placeholders, never a shell string.

use super::{Invocation, LastLines, Launch, Summary};
use crate::config::ExecutorSection;

/// `{prompt_file}`, `{model}`, `{repo}`, `{issue}`, `{branch}` and `{session_id}` are replaced
/// inside words; a word never becomes several. A command that does not name `{prompt_file}` gets
/// the prompt on its standard input.
pub(super) fn invocation(section: &ExecutorSection, launch: &Launch) -> Invocation {
    let values = [
        ("{prompt_file}", launch.prompt_file.display().to_string()),
        ("{model}", launch.model.clone().unwrap_or_default()),
        ("{repo}", launch.repo.to_string()),
        ("{issue}", launch.issue.map(|n| n.to_string()).unwrap_or_default()),
        ("{branch}", launch.branch.clone()),
        ("{session_id}", launch.session_id.clone()),
    ];
    let words = section.command.iter().skip(1).map(|word| replace(word, &values));
    Invocation {
        argv: std::iter::once(launch.program.display().to_string()).chain(words).collect(),
        env: section.env.clone().into_iter().collect(),
        prompt_on_stdin: !section.command.iter().any(|w| w.contains("{prompt_file}")),
    }
}

/// One pass from left to right, so that a value that looks like a placeholder stays as it is.
fn replace(word: &str, values: &[(&str, String)]) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    'scan: while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        for (name, value) in values {
            if let Some(after) = rest.strip_prefix(name) {
                out.push_str(value);
                rest = after;
                continue 'scan;
            }
        }
        out.push('{');
        rest = &rest[1..];
    }
    out + rest
}

/// Reads plain output: the last lines are the last words, and exit code 0 is success.
#[derive(Debug, Default)]
pub struct Reader {
    output: LastLines,
    errors: LastLines,
}

impl Reader {
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
        self.output.push(line);
        false
    }

    pub(super) fn error_line(&mut self, line: &[u8]) {
        self.errors.push(line);
    }

    pub(super) fn summary(self, exit_code: Option<i32>) -> Summary {
        let success = exit_code == Some(0);
        let (output, errors) = (self.output.text(), self.errors.text());
        let last_words = if success { output.or(errors) } else { errors.or(output) };
        Summary { success, last_words, ..Summary::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch {
            program: "/bin/prog".into(),
            model: Some("{repo}; rm -rf /".into()),
            session_id: "s".into(),
            resume: false,
            prompt_file: "/p t".into(),
            repo: "a/b".parse().unwrap(),
            issue: Some(7.try_into().unwrap()),
            branch: "issue-7".into(),
            sandbox: crate::domain::JailMode::Bwrap,
        }
    }

    #[test]
    fn placeholders_are_replaced_inside_words_and_words_stay_words() {
        let command = ["prog", "--in={prompt_file}", "{model}", "{x}{issue}{", "{branch}"];
        let section = ExecutorSection {
            command: command.map(str::to_owned).to_vec(),
            ..ExecutorSection::default()
        };
        let invocation = invocation(&section, &launch());
        assert_eq!(
            invocation.argv,
            ["/bin/prog", "--in=/p t", "{repo}; rm -rf /", "{x}7{", "issue-7"]
        );
        assert!(!invocation.prompt_on_stdin);
    }

    #[test]
    fn a_command_without_a_prompt_file_reads_its_standard_input() {
        let section = ExecutorSection { command: vec!["x".into()], ..ExecutorSection::default() };
        assert!(invocation(&section, &launch()).prompt_on_stdin);
    }

    #[test]
    fn the_exit_code_decides() {
        let mut reader = Reader::default();
        reader.line(b"out\n");
        reader.error_line(b"err\n");
        let bad = reader.summary(Some(3));
        assert_eq!((bad.success, bad.last_words.as_deref()), (false, Some("err")));
    }
}
