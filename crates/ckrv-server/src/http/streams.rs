//! What the streams of logs and events share: their form, and how many a caller may have open in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ckrv_types::{Problem, ProblemCode, limits};
use prometheus_client::metrics::gauge::Gauge;
use sqlx::types::Uuid;
use utoipa::ToSchema;

use crate::auth::Principal;
use crate::error::ApiResult;

/// A server-sent event as it is on the wire. The schemas of `data` by the event's name are in `events.yaml`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema; events are written as text")]
pub struct SseEvent {
    event: String,
    /// Hand the last one back as `Last-Event-ID` to resume behind it.
    #[schema(nullable = false)]
    id: Option<String>,
    /// JSON.
    data: String,
}

/// How many streams each key, or each person by all of their programs, has open.
#[derive(Clone, Default)]
pub struct Streams {
    open: Arc<Mutex<HashMap<Uuid, usize>>>,
    gauge: Gauge,
}

/// One open stream; dropped with it.
pub struct StreamSlot {
    caller: Uuid,
    streams: Streams,
}

impl Streams {
    /// `gauge` follows the number of all open streams.
    pub fn new(gauge: Gauge) -> Self {
        Self { gauge, ..Self::default() }
    }

    /// A place for one more stream of this caller.
    pub fn open(&self, caller: Principal) -> ApiResult<StreamSlot> {
        let caller = caller.uuid();
        let mut open = self.lock();
        let count = open.entry(caller).or_default();
        if *count >= limits::STREAMS_PER_KEY {
            let detail = format!("This caller has {} streams open, which is the limit.", limits::STREAMS_PER_KEY);
            let hint = "Close one, or read with `follow=false`.";
            return Err(Problem::new(ProblemCode::RateLimited).detail(detail).hint(hint).into());
        }
        *count += 1;
        self.gauge.inc();
        Ok(StreamSlot { caller, streams: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(count) = open.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.caller);
            }
        }
        self.streams.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::{LoginId, UserId};

    use super::*;

    #[test]
    fn a_caller_has_so_many_streams_and_a_closed_one_makes_room() {
        let streams = Streams::default();
        let user = UserId::new();
        let program = |user| Principal::User { user, login: LoginId::new() };
        let mut open: Vec<_> = (0..limits::STREAMS_PER_KEY).map(|_| streams.open(program(user)).unwrap()).collect();
        assert!(streams.open(program(user)).is_err(), "one more program of the same person's");
        assert!(streams.open(program(UserId::new())).is_ok());
        open.pop();
        assert!(streams.open(program(user)).is_ok());
        drop(open);
        assert!(streams.lock().is_empty());
        assert_eq!(streams.gauge.get(), 0);
    }
}
