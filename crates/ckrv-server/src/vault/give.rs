//! The one way out: to the worker that holds an attempt.

use ckrv_types::credential::{CredentialSecret, GivenCredential};
use ckrv_types::{AttemptId, CredentialId, Job, OrgId};
use serde_json::json;

use super::VaultError;
use super::wanted::wanted;
use crate::db::audit::{self, Actor, Entry};
use crate::db::credentials::{self, SealedCredential};
use crate::error::ApiResult;
use crate::state::AppState;

/// What a job has of its organization's credentials.
#[derive(Default)]
pub struct Given {
    pub credentials: Vec<GivenCredential>,
    /// Names of those that do not open.
    pub unreadable: Vec<String>,
}

/// For the worker that holds the attempt, and no other: the caller has made sure. What is given is in the audit log before
/// it goes, once for each attempt and version.
pub async fn give(state: &AppState, org: OrgId, attempt: AttemptId, job: &Job) -> ApiResult<Given> {
    let mut tx = state.db.tenant(org).await?;
    let usable = credentials::of_project(&mut tx, job.project).await?;
    tx.commit().await?;
    let wanted = wanted(&usable, &job.spec);
    if wanted.is_empty() {
        return Ok(Given::default());
    }
    let mut tx = state.db.system().await?;
    let sealed = credentials::sealed(&mut tx, org, job.project, &wanted).await?;
    tx.commit().await?;
    let (given, unreadable) = open(state, &sealed).await?;
    note(state, org, attempt, job, &given).await?;
    Ok(Given { credentials: given.into_iter().map(|(_, given)| given).collect(), unreadable })
}

type Opened<'a> = (&'a SealedCredential, GivenCredential);

async fn open<'a>(
    state: &AppState,
    sealed: &'a [SealedCredential],
) -> Result<(Vec<Opened<'a>>, Vec<String>), VaultError> {
    let (mut given, mut unreadable) = (Vec::new(), Vec::new());
    for sealed in sealed {
        match state.vault.open(&sealed.key, &sealed.bound(), &sealed.secret).await {
            Ok(secret) => given.push((
                sealed,
                GivenCredential {
                    name: sealed.name.clone(),
                    kind: sealed.kind,
                    host: sealed.host.clone(),
                    username: sealed.username.clone(),
                    known_hosts: sealed.known_hosts.clone(),
                    secret: CredentialSecret(secret),
                },
            )),
            Err(VaultError::Unreadable) => {
                let (org, credential) = (sealed.org, sealed.id);
                tracing::error!(%org, %credential, "a credential does not open: somebody else has changed its row or its data key's");
                unreadable.push(sealed.name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    Ok((given, unreadable))
}

async fn note(
    state: &AppState,
    org: OrgId,
    attempt: AttemptId,
    job: &Job,
    given: &[Opened<'_>],
) -> Result<(), sqlx::Error> {
    let versions: Vec<(CredentialId, u32)> = given.iter().map(|(sealed, _)| (sealed.id, sealed.version)).collect();
    let runner = job.attempts.iter().find(|known| known.number == attempt.number).and_then(|known| known.runner);
    let mut tx = state.db.system().await?;
    let new = credentials::note_given(&mut tx, attempt, &versions).await?;
    for (sealed, _) in given.iter().filter(|(sealed, _)| new.contains(&sealed.id)) {
        let entry = Entry {
            org: Some(org),
            actor: runner.map_or(Actor::System, Actor::Runner),
            action: "credential.used",
            subject: Some(sealed.id.to_string()),
            address: None,
            detail: json!({
                "name": sealed.name, "version": sealed.version, "host": sealed.host,
                "job": job.id, "attempt": attempt.number, "project": job.project,
            }),
        };
        audit::write(&mut tx, &entry).await?;
    }
    credentials::note_used(&mut tx, &new).await?;
    tx.commit().await
}
