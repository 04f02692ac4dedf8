//! The agent's jail, made ready while the clone is.
//!
//! Making a jail takes longer than resetting a clone, and neither needs the other. So it is made
//! meanwhile, and our own program waits inside for the word; the agent comes to life after that.

use std::io::Write;
use std::process::{Child, Stdio};

use super::jailing::{PROMPT_INSIDE, agent_env, agent_jail, canary, jailed, own_words};
use super::{Context, context, custody};
use crate::domain::{JailMode, Run};
use crate::executor::{Executor, Invocation, Launch};
use crate::failpoint::{Effect, Trouble};
use crate::process::{command, spawn};
use crate::sandbox::inside::Orders;

/// How a run's agent is started.
pub(super) struct Start {
    executor: Executor,
    program: std::path::PathBuf,
    invocation: Invocation,
}

impl Start {
    /// Finds out how. The run must have its branch and its conversation.
    ///
    /// # Errors
    /// When there is no such executor, or its program is gone: in words.
    pub(super) fn of(ctx: &Context, run: &Run) -> Result<Self, String> {
        let (executor, program) = ctx.executor(&run.executor).map_err(|e| e.to_string())?;
        let jailed = run.sandbox == JailMode::Bwrap;
        let prompt = ctx.root.record(&run.worker).prompt();
        let invocation = executor.invocation(&Launch {
            program: program.clone(),
            model: run.model.clone(),
            session_id: run.session_id.clone().unwrap_or_default(),
            resume: run.resume,
            prompt_file: if jailed { PROMPT_INSIDE.into() } else { prompt },
            repo: run.repo.clone(),
            issue: run.issue,
            branch: run.branch.as_ref().map(ToString::to_string).unwrap_or_default(),
            sandbox: run.sandbox,
        });
        Ok(Self { executor, program, invocation })
    }

    /// Starts it without a jail.
    ///
    /// # Errors
    /// When it cannot be started: in words.
    pub(super) fn plainly(self, ctx: &Context, run: &Run) -> Result<Child, String> {
        let mut plain = command(&self.invocation.argv[0]);
        plain.args(&self.invocation.argv[1..]);
        plain.current_dir(ctx.root.clone_of(&run.worker, &run.repo));
        let prompt = ctx.root.record(&run.worker).prompt();
        let stdin = if self.invocation.prompt_on_stdin {
            let file = std::fs::File::open(&prompt);
            Stdio::from(file.map_err(|e| format!("{}: {e}", prompt.display()))?)
        } else {
            Stdio::null()
        };
        self.spawn(plain, stdin, ctx, run)
    }

    fn spawn(
        self,
        mut outer: std::process::Command,
        stdin: Stdio,
        ctx: &Context,
        run: &Run,
    ) -> Result<Child, String> {
        let mut env = agent_env(ctx, run, &self.executor.wants(), &self.program);
        env.extend(self.invocation.env);
        custody::without_credentials(ctx, &run.worker, &mut env)?;
        outer.envs(env).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        spawn(&mut outer, |_| "agent".into())
            .map_err(|e| format!("cannot start {}: {e}", self.program.display()))
    }
}

/// A jail that is being made or is ready, with nobody but us in it. Dropped, it is no more.
pub(super) struct Anteroom(Option<Child>);

impl Anteroom {
    /// Begins to make the jail. The prompt's file must be there: it is this very file that the
    /// agent will see, whatever is written to it until then.
    ///
    /// # Errors
    /// When it cannot even be begun: in words. What goes wrong later is told by the child.
    pub(super) fn open(ctx: &Context, run: &Run) -> Result<Self, String> {
        let start = Start::of(ctx, run)?;
        let bwrap = ctx.tool(context::BWRAP).map_err(|e| e.to_string())?;
        let jail = agent_jail(ctx, bwrap, run, &start.program).map_err(|e| e.to_string())?;
        let mirror = ctx.mirror_path(&run.repo);
        let on_stdin = start.invocation.prompt_on_stdin;
        let orders = Orders {
            canary: canary(ctx, &run.worker, Some(&mirror), &jail.binds),
            cwd: ctx.root.clone_of(&run.worker, &run.repo),
            stdin: if on_stdin { PROMPT_INSIDE } else { "/dev/null" }.into(),
        };
        let orders = serde_json::to_string(&orders).map_err(|e| e.to_string())?;
        let mut argv = own_words(&["jail", "enter", &orders, "--"]);
        argv.extend(start.invocation.argv.iter().map(Into::into));
        let child = start.spawn(jailed(&jail, &argv), Stdio::piped(), ctx, run)?;
        Ok(Self(Some(child)))
    }

    /// Says the word.
    pub(super) fn let_in(mut self) -> Option<Child> {
        let mut child = self.0.take()?;
        if let Some(mut gate) = child.stdin.take() {
            let effect = Effect::new(Trouble::Process, || "let the agent in".into());
            // If nobody waits, the jail could not be made, and its own words say why.
            let _ = effect.before().and_then(|()| gate.write_all(b"+"));
            effect.passed();
        }
        Some(child)
    }
}

impl Drop for Anteroom {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
