//! The agent's environment. Nothing of the worker's own reaches it; in a pod that of the agent's container lies below it.

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
    let mut env: BTreeMap<String, String> =
        [("LANG", "C.UTF-8"), ("TERM", "dumb")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if let Some((home, tmp)) = folder.places() {
        let places =
            [("PATH", settings.search_path.as_os_str()), ("HOME", home.as_os_str()), ("TMPDIR", tmp.as_os_str())];
        env.extend(places.map(|(key, value)| (key.to_owned(), value.to_string_lossy().into_owned())));
    }
    env.extend(settings.agent_env.iter().map(|pair| (pair.key.clone(), pair.value.clone())));
    // In a pod it is the container's.
    let tmpdir = env.get("TMPDIR").cloned().unwrap_or_else(|| "/tmp".to_owned());
    env.extend(agent.env(&tmpdir));
    env.extend(spec.env.clone());
    // Names that begin with CKRV_ are refused in a job: these cannot be forged.
    env.insert("CKRV_JOB".to_owned(), attempt.job.to_string());
    env.insert(ATTEMPT_VARIABLE.to_owned(), attempt.to_string());
    env
}
