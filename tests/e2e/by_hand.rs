//! Jobs that somebody with nothing but kubectl makes: once each, under every kind of re-apply, and told to their end.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Output, Stdio};

use ckrv_operator::crd::{AgentJob, JobPhase};
use ckrv_tests::acting::{assignment_of, start_as};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::UpdateRunner;
use ckrv_types::{Cause, Job, JobId, State};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::cluster::{Installation, SOON};

const NAME: &str = "fix-the-build";
const SIGABRT: i32 = 6;

/// An object as an admin writes it.
fn object(spec: &Value) -> Value {
    let mut whole =
        json!({"repo": "https://example.com/team/app.git", "command": ["true"], "retries": {"maxAttempts": 1}});
    whole.as_object_mut().expect("an object").extend(spec.as_object().expect("an object").clone());
    json!({"apiVersion": "ckrv.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": NAME}, "spec": whole})
}

/// An installation whose operator may hand in jobs of its namespace.
async fn allowed() -> Installation {
    let installation = Installation::new().await;
    allow(&installation).await;
    installation
}

async fn allow(on: &Installation) {
    let keys = &on.stack.keys;
    let allow = BTreeMap::from([(on.jobs.namespace.clone(), keys.project)]);
    on.stack.client().update_runner(keys.runner, &UpdateRunner { allow }).await.expect("it can be allowed");
}

async fn kubectl(on: &Installation, arguments: &[&str], input: &Value) -> Output {
    let mut command = Command::new("kubectl");
    command.args(["--namespace", &on.jobs.namespace]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl is on the PATH: tests/cluster/README.md");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.to_string().as_bytes()).await.expect("kubectl reads");
    drop(stdin);
    child.wait_with_output().await.expect("kubectl ends")
}

/// What kubectl says of applying the object.
async fn applied(on: &Installation, object: &Value) -> String {
    let output = kubectl(on, &["apply", "-f", "-"], object).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Applies it in every way that is usual, and nothing changes.
async fn applied_again(on: &Installation, object: &Value) {
    let before = seen(on).await;
    // After a server-side apply by somebody else kubectl writes its own annotation anew, once.
    applied(on, object).await;
    assert!(applied(on, object).await.ends_with("unchanged"));
    let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager", "gitops", "-f", "-"];
    let output = kubectl(on, &arguments, object).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = seen(on).await;
    assert_eq!(
        (after.uid(), after.metadata.generation, after.spec),
        (before.uid(), before.metadata.generation, before.spec)
    );
}

async fn seen(on: &Installation) -> AgentJob {
    on.jobs.jobs().get(NAME).await.expect("it is there")
}

/// Waits until the object is as `wanted` says.
async fn told<T>(on: &Installation, what: &str, wanted: impl Fn(&AgentJob) -> Option<T>) -> T {
    let jobs = on.jobs.jobs();
    wait_for(what, SOON, async || jobs.get_opt(NAME).await.ok().flatten().as_ref().and_then(&wanted)).await
}

/// The job that the object stands for.
async fn adopted(on: &Installation) -> JobId {
    told(on, "the object names its job", |object| object.status.as_ref()?.job_id.clone()).await.parse().expect("an id")
}

async fn phase(on: &Installation, wanted: JobPhase) -> AgentJob {
    let what = format!("the object says {wanted:?}");
    told(on, &what, |object| (object.status.as_ref()?.phase == Some(wanted)).then(|| object.clone())).await
}

/// Waits until the object is not accepted for `reason`; what it says.
async fn rejected(on: &Installation, reason: &str) -> String {
    told(on, &format!("it is rejected: {reason}"), |object| {
        let conditions = &object.status.as_ref()?.conditions;
        let told = conditions.iter().find(|told| told.type_ == "Accepted" && told.status == "False")?;
        (told.reason == reason).then(|| told.message.clone())
    })
    .await
}

/// All jobs that there are.
async fn jobs(on: &Installation) -> Vec<Job> {
    on.stack.client().jobs(&ckrv_client::ListJobs::default()).await.expect("they can be listed").items
}

async fn has_pod(on: &Installation, job: JobId) -> k8s_openapi::api::core::v1::Pod {
    let (pods, name) = (on.jobs.pods(), format!("{job}-1"));
    wait_for("the job has its pod", SOON, async || pods.get_opt(&name).await.ok().flatten()).await
}

/// Does the job in the place of its pod, whose images are nowhere to be had.
async fn works(on: &Installation, job: JobId, cause: Option<Cause>) {
    let assignment = assignment_of(&on.stack.runner_client(), job).await;
    let worker = start_as(on.stack.worker(&assignment.bootstrap_token.0), 1).await.expect("the worker can start");
    worker.finish(cause).await.expect("the worker can finish");
}

async fn no_pods(on: &Installation) {
    let pods = on.jobs.pods();
    wait_for("no pod is left", SOON, async || {
        pods.list(&ListParams::default()).await.ok()?.items.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_that_is_applied_again_and_again_runs_once_and_tells_how_it_ended() {
    let on = allowed().await;
    let _operator = on.operator("operator.log", &[]);
    let wanted = object(&json!({"labels": {"team": "build"}, "limits": {"runSeconds": 60}, "priority": 3}));
    assert!(applied(&on, &wanted).await.ends_with("created"));
    applied_again(&on, &wanted).await;
    let job = adopted(&on).await;
    let pod = has_pod(&on, job).await;
    let made = seen(&on).await;
    assert_eq!(pod.owner_references()[0].uid, made.uid().expect("it has one"));
    let told = on.stack.client().job(job).await.expect("it is there");
    assert_eq!((told.project, told.spec.limits.run, told.spec.priority), (on.stack.keys.project, 60, 3));
    applied_again(&on, &wanted).await;

    works(&on, job, None).await;
    let status = phase(&on, JobPhase::Succeeded).await.status.expect("it has one");
    let work = status.result.expect("work came back");
    assert_eq!((work.branch, work.files_changed), (format!("ckrv/{job}"), 1));
    let message = status.message.expect("it says so");
    assert!(message.contains(&format!("`ckrv pull {job}`")), "{message}");
    let conditions: Vec<_> = status.conditions.iter().map(|told| (told.type_.as_str(), told.status.as_str())).collect();
    assert!(
        conditions.contains(&("Completed", "True")) && conditions.contains(&("LogSealed", "True")),
        "{conditions:?}"
    );
    no_pods(&on).await;
    applied_again(&on, &wanted).await;
    assert_eq!(jobs(&on).await.len(), 1);

    let changed = kubectl(&on, &["apply", "-f", "-"], &object(&json!({"priority": 4}))).await;
    let said = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(!changed.status.success() && said.contains("a job's spec cannot be changed"), "{said}");

    // Gone and made anew is another job.
    on.jobs.jobs().delete(NAME, &DeleteParams::default()).await.expect("it can be deleted");
    applied(&on, &wanted).await;
    let next = adopted(&on).await;
    assert_ne!(next, job);
    has_pod(&on, next).await;
    assert_eq!(on.stack.client().job(job).await.expect("it is there").state, State::Succeeded);
    let events: Api<Event> = Api::namespaced(on.jobs.client.clone(), &on.jobs.namespace);
    let reasons: Vec<_> = events
        .list(&ListParams::default())
        .await
        .expect("they can be read")
        .items
        .into_iter()
        .filter_map(|event| event.reason)
        .collect();
    for reason in ["Submitted", "PodCreated", "Succeeded"] {
        assert!(reasons.iter().any(|told| told == reason), "{reason}: {reasons:?}");
    }
}

#[tokio::test]
async fn one_that_fails_says_why_and_goes_when_its_time_is_over() {
    let on = allowed().await;
    let _operator = on.operator("operator.log", &[]);
    applied(&on, &object(&json!({"ttlSecondsAfterFinished": 8}))).await;
    let job = adopted(&on).await;
    works(&on, job, Some(Cause::AgentExit)).await;
    let status = phase(&on, JobPhase::Failed).await.status.expect("it has one");
    assert_eq!(status.cause.as_deref(), Some("agent:exit"));
    let message = status.message.expect("it says so");
    assert!(message.contains("said by a test") && message.contains(&format!("`ckrv logs {job}`")), "{message}");
    on.jobs.gone_object(NAME).await;
    let secrets: Api<Secret> = Api::namespaced(on.jobs.client.clone(), &on.jobs.namespace);
    wait_for("nothing is left of it", SOON, async || {
        secrets.get_opt(&format!("{job}-1")).await.ok()?.is_none().then_some(())
    })
    .await;
    assert_eq!(on.stack.client().job(job).await.expect("it is there").state, State::Failed);
}

#[tokio::test]
async fn an_operator_that_dies_before_it_has_noted_the_job_is_followed_by_one_that_finds_it() {
    let on = allowed().await;
    let mut first = on.operator_with("first.log", &[], "operator.handed-in=return");
    applied(&on, &object(&json!({}))).await;
    let died = first.ended(SOON).await;
    assert_eq!(died.signal(), Some(SIGABRT), "{died}; were the programs built with the whole workspace?");
    let made: Vec<JobId> = jobs(&on).await.into_iter().map(|job| job.id).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(seen(&on).await.status.and_then(|status| status.job_id), None);

    let _second = on.operator("second.log", &[]);
    assert_eq!(adopted(&on).await, made[0]);
    has_pod(&on, made[0]).await;
    assert_eq!(jobs(&on).await.len(), 1);
}

#[tokio::test]
async fn deleting_one_cancels_its_job_while_it_waits_and_while_it_has_a_pod() {
    let on = allowed().await;
    let mut operator = on.operator("waiting.log", &["--capacity", "0"]);
    applied(&on, &object(&json!({}))).await;
    let waiting = adopted(&on).await;
    phase(&on, JobPhase::Queued).await;
    on.jobs.jobs().delete(NAME, &DeleteParams::default()).await.expect("it can be deleted");
    let ended = on.ended(waiting).await;
    assert_eq!((ended.state, ended.cause), (State::Cancelled, Some(Cause::CancelledByRunner)), "{ended:?}");
    assert!(ended.message.is_some_and(|message| message.contains(NAME)));

    // While nobody looks: it is found out as soon as the job would begin.
    applied(&on, &object(&json!({}))).await;
    let unseen = adopted(&on).await;
    operator.kill().await;
    on.jobs.jobs().delete(NAME, &DeleteParams::default()).await.expect("it can be deleted");
    on.jobs.gone_object(NAME).await;
    let _operator = on.operator("running.log", &[]);
    assert_eq!(on.ended(unseen).await.cause, Some(Cause::CancelledByRunner));

    applied(&on, &object(&json!({}))).await;
    let running = adopted(&on).await;
    has_pod(&on, running).await;
    on.jobs.jobs().delete(NAME, &DeleteParams::default()).await.expect("it can be deleted");
    assert_eq!(on.ended(running).await.cause, Some(Cause::CancelledByRunner));
    no_pods(&on).await;
}

#[tokio::test]
async fn a_job_that_its_owner_cancels_is_told_in_the_cluster() {
    let on = allowed().await;
    let _operator = on.operator("operator.log", &["--capacity", "0"]);
    applied(&on, &object(&json!({}))).await;
    on.stack.client().cancel(adopted(&on).await).await.expect("it can be cancelled");
    let status = phase(&on, JobPhase::Cancelled).await.status.expect("it has one");
    assert_eq!(status.cause.as_deref(), Some("cancelled:user"));
}

#[tokio::test]
async fn what_is_not_taken_says_what_to_do_and_goes_on_when_that_is_done() {
    let on = Installation::new().await;
    let _operator = on.operator("operator.log", &[]);
    let class = on.jobs.namespace.clone();
    applied(&on, &object(&json!({"className": class}))).await;
    let said = rejected(&on, "ClassMissing").await;
    assert!(said.contains(&class), "{said}");
    on.jobs.class(&class, &json!({})).await;
    let said = rejected(&on, "NamespaceNotAllowed").await;
    assert!(said.contains("ckrv runner allow"), "{said}");
    assert_eq!(jobs(&on).await.len(), 0);
    allow(&on).await;
    let job = adopted(&on).await;
    has_pod(&on, job).await;
    on.jobs.no_class(&class).await;
}

#[tokio::test]
async fn what_the_control_plane_refuses_is_told_once_and_not_tried_for_ever() {
    let on = allowed().await;
    let _operator = on.operator("operator.log", &[]);
    applied(&on, &object(&json!({"branch": "-x"}))).await;
    let said = rejected(&on, "Invalid").await;
    assert!(said.contains("spec.branch"), "{said}");
    // Whatever else makes the operator look at it.
    let before = seen(&on).await.resource_version();
    let other = Patch::Merge(json!({"metadata": {"labels": {"looked": "at"}}}));
    let looked = on.jobs.jobs().patch(NAME, &PatchParams::default(), &other).await.expect("it can be labelled");
    assert_ne!(looked.resource_version(), before);
    let good = on.submit().await;
    has_pod(&on, good.id).await;
    assert_eq!(seen(&on).await.resource_version(), looked.resource_version(), "nothing was written since");
    let refusals = on.stack.log("operator.log").matches("a job is refused").count();
    assert_eq!((refusals, jobs(&on).await.len()), (1, 1));
}

#[tokio::test]
async fn the_objects_that_the_operator_makes_stay_its_own() {
    let on = allowed().await;
    let _operator = on.operator("operator.log", &[]);
    let job = on.submit().await;
    has_pod(&on, job.id).await;
    // Somebody says that he is that job too.
    let forged = json!({
        "apiVersion": "ckrv.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": NAME},
        "spec": {"jobID": job.id.to_string(), "agent": "command"}
    });
    applied(&on, &forged).await;
    rejected(&on, "NotAssigned").await;
    on.jobs.jobs().delete(NAME, &DeleteParams::default()).await.expect("it can be deleted");
    on.jobs.gone_object(NAME).await;
    assert_eq!(on.stack.client().job(job.id).await.expect("it is there").state, State::Assigned);
}
