//! What is told to the program, and what it says.

use std::path::Path;

use claude_workers::fakehub::FakeHub;

/// What the user wrote into the configuration file, section by section.
#[derive(Clone)]
pub struct Config {
    /// Lines before the first section; `repos` is among them.
    pub top: &'static str,
    pub assign: &'static str,
    pub limits: &'static str,
    pub sandbox: &'static str,
    /// `None`: the embedded GitHub may be reached, so that agents can leave marks there.
    pub network: Option<String>,
    pub credentials: &'static str,
    /// More sections.
    pub more: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            top: "repos = ['octo/app']",
            assign: "",
            limits: "",
            sandbox: "",
            network: None,
            credentials: "copy = []",
            more: String::new(),
        }
    }
}

impl Config {
    /// The whole file.
    pub fn text(&self, hub: &FakeHub, agents: &Path) -> String {
        format!(
            "executor = 'agent'\n{top}\n\
             [github]\napi_url = '{api}'\nserver_url = '{server}'\ntoken_file = '~/token'\n\
             [credentials]\n{credentials}\n\
             [assign]\n{assign}\n\
             [limits]\n{limits}\n\
             [sandbox]\nread_only = ['{agents}']\n{sandbox}\n\
             [network]\n{network}\n\
             [git]\nfetch_max_age = '0s'\n\
             [executors.agent]\n\
             command = ['/bin/sh', '{agents}/agent.sh', '{{prompt_file}}', '{{issue}}', '{{model}}']\n\
             {more}\n",
            top = self.top,
            api = hub.api_url(),
            server = hub.server_url(),
            assign = self.assign,
            limits = self.limits,
            sandbox = self.sandbox,
            network = self.network.clone().unwrap_or_else(|| marks(hub)),
            credentials = self.credentials,
            agents = agents.display(),
            more = self.more,
        )
    }
}

fn marks(hub: &FakeHub) -> String {
    let url = hub.server_url();
    format!("allow_local = ['{}']", url.strip_prefix("http://").unwrap_or(url))
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: &std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// One of the streams holds these words.
    #[track_caller]
    pub fn says(self, word: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert!(said.contains(word), "no {word:?} in:\n{said}");
        self
    }
}
