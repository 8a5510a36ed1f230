//! From a started attempt to an agent that can be run: its secrets, its entry in the catalog, its clone, its shim.

use std::time::Duration;

use ckrv_types::worker::Outcome;
use ckrv_types::{Cause, RepoUrl};

use super::attempt::Attempt;
use super::environment::environment;
use super::model::Model;
use super::outcome::failed;
use crate::agents::{Agent, Catalog, OutputFormat};
use crate::collect::Baseline;
use crate::crash::crash_point;
use crate::git::{self, Checkout, CloneRequest, GitProgram};
use crate::human;
use crate::secrets::Secrets;
use crate::shim::{BundlePlan, LaunchLocal, RunAgent, Session};

const BUNDLE_EVERY: Duration = Duration::from_mins(3);
const BUNDLE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
const BUNDLE_LIMIT: Duration = Duration::from_mins(2);
/// Characters of a commit's name that people read.
const SHORT: usize = 10;

/// The clone, and what collecting the work needs of it.
pub struct Repository {
    pub git: GitProgram,
    pub checkout: Checkout,
    pub baseline: Baseline,
}

/// An agent that can be run.
pub struct Ready {
    pub session: Session,
    pub order: RunAgent,
    pub output: OutputFormat,
    pub model: Option<Model>,
}

/// Prepares, or says with what outcome the attempt ends already.
pub async fn prepare(attempt: &Attempt) -> Result<(Repository, Ready), Outcome> {
    let spec = &attempt.started.spec;
    let secrets = attempt
        .secrets
        .as_ref()
        .map_err(|error| failed(Cause::SecretMissing, format!("the runner's secrets cannot be used: {error}")))?;
    secrets.check(&spec.secrets).map_err(|error| failed(Cause::SecretMissing, error.to_string()))?;
    let agent = find_agent(attempt)?;
    // A key that is not there is told before anything is cloned.
    let model = Model::start(attempt, &agent, secrets).await?;
    let request = clone_request(attempt, secrets)?;
    let launch = LaunchLocal { exe: attempt.exe.clone(), folder: attempt.folder.shim() };
    let (repository, session) = tokio::join!(clone(attempt, request), Session::launch_local(&launch));
    let session = session.map_err(|error| failed(Cause::WorkerLost, human::chain(&error)))?;
    crash_point("worker.after-clone");
    match repository {
        Ok(repository) => {
            let order = order(attempt, &agent, &repository.checkout, model.as_ref());
            Ok((repository, Ready { session, order, output: agent.output, model }))
        }
        Err(outcome) => {
            session.finish().await;
            Err(outcome)
        }
    }
}

/// What the agent is to be run with, once its repository is here.
fn order(attempt: &Attempt, agent: &Agent, checkout: &Checkout, model: Option<&Model>) -> RunAgent {
    let spec = &attempt.started.spec;
    let mut env = environment(&attempt.config.settings, &attempt.folder, agent, spec, attempt.started.attempt);
    env.extend(model.into_iter().flat_map(Model::env));
    let Checkout { work_tree, base, .. } = checkout.clone();
    RunAgent {
        argv: agent.argv(spec),
        stdin: agent.stdin(spec),
        env,
        cwd: work_tree.clone(),
        grace: Duration::from_secs(spec.limits.grace),
        bundles: Some(BundlePlan {
            work_tree,
            base,
            every: BUNDLE_EVERY,
            max_bytes: BUNDLE_BYTES,
            limit: BUNDLE_LIMIT,
        }),
    }
}

fn find_agent(attempt: &Attempt) -> Result<Agent, Outcome> {
    let catalog = Catalog::load(attempt.config.settings.agents.as_deref())
        .map_err(|error| failed(Cause::AgentMissing, format!("the runner's list of agents cannot be used: {error}")))?;
    let agent = catalog.get(&attempt.started.spec.agent);
    agent.cloned().map_err(|error| failed(Cause::AgentMissing, error.to_string()))
}

fn clone_request(attempt: &Attempt, secrets: &Secrets) -> Result<CloneRequest, Outcome> {
    let (spec, settings) = (&attempt.started.spec, &attempt.config.settings);
    let url = RepoUrl::parse(&spec.repo, &settings.repo_policy())
        .map_err(|error| failed(Cause::RepositoryUrl, format!("this runner does not clone {}: {error}", spec.repo)))?;
    let git = GitProgram {
        search_path: settings.search_path.clone(),
        env: settings.git_env.iter().map(|pair| (pair.key.clone().into(), pair.value.clone().into())).collect(),
    };
    Ok(CloneRequest {
        git,
        url,
        branch: spec.branch.clone(),
        policy: settings.repo_policy(),
        credentials: secrets.git(&spec.secrets),
        git_dir: attempt.folder.git_dir(),
        work_tree: attempt.folder.work_tree(),
        private: attempt.folder.git(),
        author: attempt.started.commit_author.clone(),
        limit: Duration::from_secs(spec.limits.start),
    })
}

async fn clone(attempt: &Attempt, request: CloneRequest) -> Result<Repository, Outcome> {
    attempt.log.system(&format!("cloning {}", request.url));
    let mut progress = |line: String| attempt.log.system(&format!("git: {line}"));
    let checkout =
        git::clone(&request, &mut progress).await.map_err(|error| failed(error.cause(), error.to_string()))?;
    let commit = checkout.base.get(..SHORT).unwrap_or(&checkout.base);
    attempt.log.system(&format!("branch {} at {commit}", checkout.branch));
    let baseline = Baseline::take(&checkout.work_tree).await;
    Ok(Repository { git: request.git, checkout, baseline })
}
