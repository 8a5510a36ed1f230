//! Registration and heartbeat: who the runner is, what it can take, what it should drop.

use std::time::Duration;

use axum::extract::State;
use ckrv_types::runner::{Offer, Register, Registered, RunnerHeartbeat, RunnerHeartbeatAnswer};
use ckrv_types::{limits, spec};
use serde_json::json;

use super::other_instance;
use crate::api::invalid;
use crate::auth::RunnerAuth;
use crate::db::assignments::{self, Verdict};
use crate::db::audit::{self, Actor, Entry};
use crate::db::{handed_in, runners};
use crate::error::ApiResult;
use crate::http::extract::Json;
use crate::http::problems::{Authenticated, Conflict, JsonBody};
use crate::http::rate::address::ClientAddress;
use crate::state::AppState;
use crate::text;

/// Bind the runner's token to this instance and tell what it offers.
#[utoipa::path(post, path = "/v1/runner/register", tag = "runner", operation_id = "registerRunner",
    request_body = Register,
    responses((status = 200, body = Registered), Authenticated, JsonBody, Conflict))]
pub(super) async fn register(
    State(state): State<AppState>,
    auth: RunnerAuth,
    ClientAddress(address): ClientAddress,
    Json(request): Json<Register>,
) -> ApiResult<axum::Json<Registered>> {
    check(&request.instance, &request.offer)?;
    let mut tx = state.db.system().await?;
    if runners::register(&mut tx, auth.runner, &request.instance).await?.ok_or_else(other_instance)? {
        let entry = Entry {
            org: auth.org,
            actor: Actor::Runner(auth.runner),
            action: "runner.bound",
            subject: Some(auth.runner.to_string()),
            address: Some(&address.to_string()),
            detail: json!({ "instance": request.instance }),
        };
        audit::write(&mut tx, &entry).await?;
    }
    handed_in::take_over(&mut tx, auth.runner, &request.instance).await?;
    runners::beat(&mut tx, auth.runner, &request.instance, &request.offer).await?;
    tx.commit().await?;
    state.wake.notify_admission();
    Ok(axum::Json(Registered { runner: auth.runner, name: auth.name, beat_seconds: state.config.beat_seconds }))
}

/// Tell that the runner lives, what it offers and what it has; hear what to stop and what to remove.
#[utoipa::path(post, path = "/v1/runner/heartbeat", tag = "runner", operation_id = "runnerHeartbeat",
    request_body = RunnerHeartbeat,
    responses((status = 200, body = RunnerHeartbeatAnswer), Authenticated, JsonBody, Conflict))]
pub(super) async fn heartbeat(
    State(state): State<AppState>,
    auth: RunnerAuth,
    Json(request): Json<RunnerHeartbeat>,
) -> ApiResult<axum::Json<RunnerHeartbeatAnswer>> {
    check(&request.instance, &request.offer)?;
    let held = request.holding;
    if held.len() > limits::RUNNER_ITEMS {
        return Err(invalid("holding", format!("at most {} attempts", limits::RUNNER_ITEMS)));
    }
    let (slack, finish) = (Duration::from_secs(limits::SLACK_SECONDS), Duration::from_secs(limits::FINISH_SECONDS));
    let mut tx = state.db.system().await?;
    if !runners::beat(&mut tx, auth.runner, &request.instance, &request.offer).await? {
        return Err(other_instance());
    }
    let verdicts = assignments::judge(&mut tx, auth.runner, &held, slack, finish).await?;
    tx.commit().await?;
    state.wake.notify_admission();
    let of =
        |wanted: Verdict| held.iter().zip(&verdicts).filter(move |(_, found)| **found == wanted).map(|(id, _)| *id);
    Ok(axum::Json(RunnerHeartbeatAnswer { stop: of(Verdict::Stop).collect(), forget: of(Verdict::Forget).collect() }))
}

fn check(instance: &str, offer: &Offer) -> ApiResult<()> {
    if !text::is_label(instance) {
        return Err(invalid("instance", "1 to 255 characters of one line are expected"));
    }
    if offer.capacity > limits::RUNNER_CAPACITY {
        return Err(invalid("offer.capacity", format!("at most {}", limits::RUNNER_CAPACITY)));
    }
    if offer.classes.len() > limits::RUNNER_CLASSES || !offer.classes.iter().all(|class| spec::is_name(class)) {
        return Err(invalid("offer.classes", format!("at most {} names of a-z 0-9 -", limits::RUNNER_CLASSES)));
    }
    let label_ok =
        |(key, value): (&String, &String)| text::is_label(key) && (value.is_empty() || text::is_label(value));
    if offer.labels.len() > limits::LABELS || !offer.labels.iter().all(label_ok) {
        return Err(invalid("offer.labels", format!("at most {} labels of one line", limits::LABELS)));
    }
    if !text::is_label(&offer.version) {
        return Err(invalid("offer.version", "1 to 255 characters of one line are expected"));
    }
    Ok(())
}
