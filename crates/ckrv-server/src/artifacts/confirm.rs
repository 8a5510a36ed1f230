//! What became of an attempt's artifacts, by its worker's word and the store's.

use std::collections::{BTreeMap, HashMap};

use ckrv_types::artifact::ArtifactStatus;
use ckrv_types::worker::FinishedArtifact;
use ckrv_types::{AttemptId, OrgId};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::name;
use crate::db::artifacts::{self, Offered, Outcome};
use crate::error::ApiResult;
use crate::s3::Head;
use crate::state::AppState;

/// Look-ups at once.
const LOOKUPS: usize = 16;

/// Looks up in the store what the worker says is there. For `finish`, before its transaction; there the outcomes are written
/// by [`artifacts::record`]. Fails when the store is away: the worker asks again.
pub async fn confirm(
    state: &AppState,
    org: OrgId,
    attempt: AttemptId,
    finished: &[FinishedArtifact],
) -> ApiResult<Vec<Outcome>> {
    let mut tx = state.db.tenant(org).await?;
    let offered = artifacts::offered(&mut tx, attempt).await?;
    tx.commit().await?;
    let offered: HashMap<&str, &Offered> = offered.iter().map(|offer| (offer.name.as_str(), offer)).collect();
    // One word for each name: the last.
    let finished: BTreeMap<String, &FinishedArtifact> =
        finished.iter().map(|one| (name::shown(&one.name), one)).collect();
    let mut looked_up = Vec::with_capacity(finished.len());
    for (name, one) in finished {
        let offered = offered.get(name.as_str()).copied();
        looked_up.push(outcome(state, name, one, offered));
    }
    stream::iter(looked_up).buffered(LOOKUPS).try_collect().await
}

async fn outcome(
    state: &AppState,
    name: String,
    finished: &FinishedArtifact,
    offered: Option<&Offered>,
) -> ApiResult<Outcome> {
    let outcome = |status, message: Option<String>| Outcome { name, status, message };
    Ok(match (finished.status, offered) {
        (ArtifactStatus::Stored, Some(offered)) => {
            let found = state.s3.head(&offered.object_key).await?;
            match difference(offered, found.as_ref()) {
                None => outcome(ArtifactStatus::Stored, None),
                Some(difference) => outcome(ArtifactStatus::Failed, Some(difference)),
            }
        }
        (ArtifactStatus::Stored, None) => {
            outcome(ArtifactStatus::Failed, Some("it was reported as stored but never offered".to_owned()))
        }
        (ArtifactStatus::Skipped, _) => outcome(ArtifactStatus::Skipped, finished.message.clone()),
        (ArtifactStatus::Failed | ArtifactStatus::Pending | ArtifactStatus::Expired, _) => {
            outcome(ArtifactStatus::Failed, finished.message.clone())
        }
    })
}

/// In what the object is another than the one offered.
fn difference(offered: &Offered, found: Option<&Head>) -> Option<String> {
    let Some(found) = found else { return Some("its upload never arrived in the object store".to_owned()) };
    if found.size != offered.size {
        return Some(format!("the object store has {} bytes of it, {} were to be stored", found.size, offered.size));
    }
    // A store that keeps no checksum has still been asked to refuse other bytes, by the signed request.
    match &found.sha256 {
        Some(sha256) if *sha256 != offered.sha256 => {
            Some("the object store has other bytes than were offered".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_object_that_was_offered_is_believed() {
        let offered = Offered { name: "a".into(), size: 3, sha256: "aa".into(), object_key: "k".into() };
        let head = |size, sha256: Option<&str>| Head { size, sha256: sha256.map(str::to_owned) };
        assert_eq!(difference(&offered, Some(&head(3, Some("aa")))), None);
        assert_eq!(difference(&offered, Some(&head(3, None))), None);
        assert!(difference(&offered, Some(&head(2, Some("aa")))).is_some());
        assert!(difference(&offered, Some(&head(3, Some("bb")))).is_some());
        assert!(difference(&offered, None).is_some());
    }
}
