//! How many attempts are in which state, for the metrics.

use ckrv_types::State;

use super::{Db, decode};

/// All organizations' attempts that are not over.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub by_state: Vec<(State, i64)>,
    /// Seconds since the oldest queued attempt was due; 0: none is queued.
    pub oldest_queued: f64,
}

pub async fn look(db: &Db) -> Result<Live, sqlx::Error> {
    let mut tx = db.system().await?;
    let rows: Vec<(String, i64, f64)> = sqlx::query_as(
        "select state, count(*),
            greatest(coalesce(extract(epoch from now() - min(greatest(queued_at, not_before))), 0), 0)::float8
         from attempts where rank < 100 group by state",
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let (mut by_state, mut oldest_queued) = (Vec::new(), 0.0);
    for (state, count, age) in rows {
        let state = decode::text("state", &state)?;
        if state == State::Queued {
            oldest_queued = age;
        }
        by_state.push((state, count));
    }
    Ok(Live { by_state, oldest_queued })
}
