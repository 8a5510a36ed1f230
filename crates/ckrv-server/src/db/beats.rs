//! Heartbeats of the server's own loops. Who was silent himself must not judge others by their silence.

use std::time::Duration;

use sqlx::PgConnection;

/// Notes that `name` is alive. After a gap of more than `beat` nobody is judged for a whole `lease`.
pub async fn beat(system: &mut PgConnection, name: &str, beat: Duration, lease: Duration) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into service_beats as b (name, beat_at, judge_from)
         values ($1, now(), now() + make_interval(secs => $3))
         on conflict (name) do update set
             beat_at = now(),
             judge_from = case
                 when b.beat_at < now() - make_interval(secs => $2) then now() + make_interval(secs => $3)
                 else b.judge_from
             end",
    )
    .bind(name)
    .bind(beat.as_secs_f64())
    .bind(lease.as_secs_f64())
    .execute(system)
    .await?;
    Ok(())
}

/// Whether all of `names` are alive, and have been for long enough.
pub async fn may_judge(system: &mut PgConnection, names: &[&str], beat: Duration) -> Result<bool, sqlx::Error> {
    let able: i64 = sqlx::query_scalar(
        "select count(*) from service_beats
         where name = any ($1) and beat_at >= now() - make_interval(secs => $2) and judge_from <= now()",
    )
    .bind(names)
    .bind(beat.as_secs_f64())
    .fetch_one(system)
    .await?;
    Ok(able.unsigned_abs() == names.len() as u64)
}
