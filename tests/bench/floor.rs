//! The floor of the log rows: the same rows with the same bytes, inserted by hand into a bare table of the same database, one
//! durable commit a row, as many connections at once as there were streams.

use std::time::Instant;

use ckrv_tests::stack::Stack;
use sqlx::{Connection as _, PgConnection};

/// Seconds that it takes to insert `rows` rows of `bytes` bytes on each of `streams` connections.
pub async fn inserts(stack: &Stack, streams: usize, rows: u64, bytes: usize) -> f64 {
    let superuser = stack.superuser_url().expose().to_owned();
    let mut connection = PgConnection::connect(&superuser).await.unwrap();
    let table = "create table if not exists floor (stream int, first bigint, frame bytea, primary key (stream, first))";
    sqlx::query(table).execute(&mut connection).await.unwrap();
    sqlx::query("alter table floor alter column frame set storage external").execute(&mut connection).await.unwrap();
    sqlx::query("truncate floor").execute(&mut connection).await.unwrap();
    // Not compressible, as frames are not.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let frame: Vec<u8> = (0..bytes).map(|_| random_byte(&mut state)).collect();
    let begun = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for stream in 0..streams {
        let (superuser, frame) = (superuser.clone(), frame.clone());
        writers.spawn(async move {
            let mut connection = PgConnection::connect(&superuser).await.unwrap();
            for row in 0..rows {
                sqlx::query("insert into floor values ($1, $2, $3)")
                    .bind(i32::try_from(stream).unwrap())
                    .bind(row.cast_signed())
                    .bind(&frame)
                    .execute(&mut connection)
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    begun.elapsed().as_secs_f64()
}

/// Xorshift64.
fn random_byte(state: &mut u64) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    state.to_le_bytes()[3]
}
