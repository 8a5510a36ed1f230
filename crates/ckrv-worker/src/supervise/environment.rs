//! The agent's whole environment. Nothing of the worker's own reaches it.

use std::collections::BTreeMap;

use ckrv_types::{AttemptId, JobSpec};

use super::folder::Folder;
use crate::agents::Agent;
use crate::config::Settings;

/// Carried by every process of an attempt; how the local runner finds what is left of one.
pub const ATTEMPT_VARIABLE: &str = "CKRV_ATTEMPT";

/// Later ones win: ckrv's base, the runner's additions, the agent's entry, the job's own.
pub fn environment(
    settings: &Settings,
    folder: &Folder,
    agent: &Agent,
    spec: &JobSpec,
    attempt: AttemptId,
) -> BTreeMap<String, String> {
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut env: BTreeMap<String, String> = [
        ("PATH", settings.search_path.to_string_lossy().into_owned()),
        ("HOME", path(folder.home())),
        ("TMPDIR", path(folder.tmp())),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", "dumb".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    env.extend(settings.agent_env.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
    env.extend(agent.env.clone());
    env.extend(spec.env.clone());
    // Names that begin with CKRV_ are refused in a job: these cannot be forged.
    env.insert("CKRV_JOB".to_owned(), attempt.job.to_string());
    env.insert(ATTEMPT_VARIABLE.to_owned(), attempt.to_string());
    env
}
