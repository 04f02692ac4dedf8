//! The agent's jail, made ready while the clone is.
//!
//! Making a jail takes longer than resetting a clone, and neither needs the other. So it is made
//! meanwhile, and our own program waits inside for the word; the agent comes to life after that.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use super::egress::{self, Egress};
use super::jailing::{PROMPT_INSIDE, agent_env, agent_jail, canary, jailed, listening, own_words};
use super::{Context, context, custody, secrets};
use crate::domain::{JailMode, NetworkMode, Run, WorkerId};
use crate::executor::{Executor, Invocation, Launch};
use crate::failpoint::{Effect, Trouble};
use crate::process::{Fence, command, spawn};
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
        let env = self.env(ctx, run)?;
        self.spawn(plain, stdin, env)
    }

    /// The agent's environment; of a name that is there twice, the last counts.
    fn env(&self, ctx: &Context, run: &Run) -> Result<Vec<(String, String)>, String> {
        let mut env = agent_env(ctx, run, &self.executor.wants(), &self.program);
        env.extend(self.invocation.env.iter().cloned());
        custody::without_credentials(ctx, &run.worker, &mut env)?;
        Ok(env)
    }

    fn spawn(
        self,
        mut outer: std::process::Command,
        stdin: Stdio,
        env: Vec<(String, String)>,
    ) -> Result<Child, String> {
        outer.envs(env).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        spawn(&mut outer, |_| "agent".into())
            .map_err(|e| format!("cannot start {}: {e}", self.program.display()))
    }
}

/// The name of the groups around a worker's jails.
pub(super) fn fence_name(ctx: &Context, worker: &WorkerId) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut root = DefaultHasher::new();
    ctx.root.path().hash(&mut root);
    format!("claude-workers-{:016x}-{worker}", root.finish())
}

/// A jail that is being made or is ready, with nobody but us in it. Dropped, it is no more.
pub(super) struct Anteroom {
    child: Option<Child>,
    /// The groups around it are being made: that takes a while, and needs nothing of us.
    fence: Option<JoinHandle<Option<Fence>>>,
    ways: Ways,
}

/// What belongs to a jail outside of it.
#[derive(Default)]
pub(super) struct Ways {
    /// The way out, to be kept as long as the agent lives.
    pub(super) egress: Option<Egress>,
    /// What the canary must not reach, to be kept until it has tried.
    pub(super) bait: Option<TcpListener>,
    /// Bounds what all processes in there may take together, where that needs more than limits of
    /// each; as long as it is kept.
    fence: Option<Fence>,
}

impl Anteroom {
    /// Begins to make the jail. The prompt's file must be there: it is this very file that the
    /// agent will see, whatever is written to it until then.
    ///
    /// # Errors
    /// When it cannot even be begun: in words. What goes wrong later is told by the child.
    pub(super) fn open(ctx: &Context, run: &Run) -> Result<Self, String> {
        let start = Start::of(ctx, run)?;
        let bwrap = ctx.tool(context::BWRAP).map_err(|e| e.to_string())?;
        let mut jail = agent_jail(ctx, bwrap, run, &start.program).map_err(|e| e.to_string())?;
        let mut env = start.env(ctx, run)?;
        let record = ctx.root.record(&run.worker);
        let mut ways = Ways::default();
        if run.network == NetworkMode::Proxy {
            let mode = custody::mode_of(ctx, &run.worker).map_err(|e| e.to_string())?;
            let policy = egress::policy(ctx, &start.executor, &env, mode);
            let secrets = secrets::known(ctx, &run.worker).map_err(|e| e.to_string())?;
            let log = record.egress_log();
            let opened = Egress::open(ctx, &record.scratch(), log, policy, &secrets)?;
            opened.show_in(&mut jail);
            env.splice(0..0, opened.routes.env());
            ways.egress = Some(opened);
        }
        if run.network != NetworkMode::Host {
            egress::name_loopback(&mut jail, &record.scratch())?;
            ways.bait = Some(listening()?);
        }
        let on_stdin = start.invocation.prompt_on_stdin;
        let orders = Orders {
            canary: canary(ctx, &run.worker, Some(&run.repo), &jail.binds, &ways),
            cwd: ctx.root.clone_of(&run.worker, &run.repo),
            stdin: if on_stdin { PROMPT_INSIDE } else { "/dev/null" }.into(),
            rlimits: ctx.settings.rlimits,
            routes: ways.egress.as_ref().map(|egress| egress.routes.clone()),
        };
        let orders = serde_json::to_string(&orders).map_err(|e| e.to_string())?;
        let mut argv = own_words(&["jail", "enter", &orders, "--"]);
        argv.extend(start.invocation.argv.iter().map(Into::into));
        let child = start.spawn(jailed(&jail, &argv), Stdio::piped(), env)?;
        let (pid, name, rlimits) = (child.id(), fence_name(ctx, &run.worker), ctx.settings.rlimits);
        let fence = std::thread::spawn(move || Fence::around(pid, &name, &rlimits));
        Ok(Self { child: Some(child), fence: Some(fence), ways })
    }

    fn fence(&mut self) -> Option<Fence> {
        self.fence.take()?.join().ok()?
    }

    /// Says the word.
    pub(super) fn let_in(mut self) -> Option<(Child, Ways)> {
        self.ways.fence = self.fence();
        let mut child = self.child.take()?;
        if let Some(fence) = &self.ways.fence {
            fence.gather(child.id());
        }
        if let Some(mut gate) = child.stdin.take() {
            let effect = Effect::new(Trouble::Process, || "let the agent in".into());
            // If nobody waits, the jail could not be made, and its own words say why.
            let _ = effect.before().and_then(|()| gate.write_all(b"+"));
            effect.passed();
        }
        Some((child, std::mem::take(&mut self.ways)))
    }
}

impl Drop for Anteroom {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            drop(self.fence());
        }
    }
}
