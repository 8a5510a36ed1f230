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
use crate::secrets::{Secrets, SecretsError};
use crate::shim::{BundlePlan, Door, LaunchLocal, RunAgent, Session, SessionError};

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
    let secrets = attempt.secrets.as_ref().map_err(|error| failed(Cause::SecretMissing, unusable(error)))?;
    secrets.check(&spec.secrets).map_err(|error| failed(Cause::SecretMissing, error.to_string()))?;
    let agent = find_agent(attempt)?;
    // A key that is not there is told before anything is cloned.
    let model = Model::start(attempt, &agent, secrets).await?;
    let request = clone_request(attempt, secrets)?;
    let git = request.git.clone();
    let (checkout, session) = match &attempt.door {
        None => beside_a_child(attempt, request).await?,
        Some(door) => beside_a_container(attempt, door, request).await?,
    };
    let baseline = Baseline::take(&checkout.work_tree).await;
    let order = order(attempt, &agent, &checkout, model.as_ref());
    let repository = Repository { git, checkout, baseline };
    Ok((repository, Ready { session, order, output: agent.output, model }))
}

fn unusable(error: &SecretsError) -> String {
    match error {
        SecretsError::Given { .. } | SecretsError::Unreadable(_) => error.to_string(),
        _ => format!("the runner's secrets cannot be used: {error}"),
    }
}

/// Clones while a shim of this machine starts.
async fn beside_a_child(attempt: &Attempt, request: CloneRequest) -> Result<(Checkout, Session), Outcome> {
    let launch = LaunchLocal { exe: attempt.exe.clone(), folder: attempt.folder.shim() };
    let (checkout, session) = tokio::join!(clone(attempt, request), Session::launch_local(&launch));
    let session = session.map_err(|error| failed(Cause::WorkerLost, human::chain(&error)))?;
    crash_point("worker.after-clone");
    match checkout {
        Ok(checkout) => Ok((checkout, session)),
        Err(outcome) => {
            session.finish().await;
            Err(outcome)
        }
    }
}

/// Clones while the agent's container comes up, and makes the clone the agent's own there.
async fn beside_a_container(
    attempt: &Attempt,
    door: &Door,
    request: CloneRequest,
) -> Result<(Checkout, Session), Outcome> {
    let (folder, limit) = (attempt.folder.shim(), request.limit);
    let admitted = async { door.admit(&folder, limit).await.map_err(|error| of_container_start(&error)) };
    let (checkout, mut session) = tokio::try_join!(clone(attempt, request), admitted)?;
    crash_point("worker.after-clone");
    let (fresh, work_tree) = (checkout.work_tree, attempt.folder.work_tree());
    session.take_over(&fresh, &work_tree, limit).await.map_err(|error| of_container_start(&error))?;
    let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(fresh)).await;
    if let Err(error) = removed.map_err(std::io::Error::other).flatten() {
        tracing::warn!(%error, "the clone that the agent has its own copy of stays until the pod goes");
    }
    Ok((Checkout { work_tree, ..checkout }, session))
}

fn of_container_start(error: &SessionError) -> Outcome {
    match error {
        SessionError::NoShim(limit) => {
            let limit = human::duration(*limit);
            failed(Cause::StartLimit, format!("the agent's container did not start within the start limit of {limit}"))
        }
        SessionError::Version { .. } => failed(Cause::AgentMissing, format!("the agent's image: {error}")),
        SessionError::TakeOver(_) => failed(Cause::WorkFolder, human::chain(error)),
        _ => failed(Cause::WorkerLost, format!("the agent's container: {}", human::chain(error))),
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
        work_tree: attempt.folder.fresh_clone(),
        private: attempt.folder.git(),
        author: attempt.started.commit_author.clone(),
        limit: Duration::from_secs(spec.limits.start),
    })
}

async fn clone(attempt: &Attempt, request: CloneRequest) -> Result<Checkout, Outcome> {
    attempt.log.system(&format!("cloning {}", request.url));
    let mut progress = |line: String| attempt.log.system(&format!("git: {line}"));
    let checkout =
        git::clone(&request, &mut progress).await.map_err(|error| failed(error.cause(), error.to_string()))?;
    let commit = checkout.base.get(..SHORT).unwrap_or(&checkout.base);
    attempt.log.system(&format!("branch {} at {commit}", checkout.branch));
    Ok(checkout)
}
