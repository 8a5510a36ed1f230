//! From a submitted job to its pod, and to nothing again.

use std::time::{Duration, Instant};

use ckrv_operator::crd::JobPhase;
use ckrv_tests::acting::{assignment_of, start_as};
use ckrv_tests::processes::{go_on, stand_still};
use ckrv_tests::replica::{spec, submit};
use ckrv_tests::wait::wait_for;
use ckrv_types::{Cause, JobId, State};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};

use crate::cluster::{Installation, SOON};
use crate::faults::{Fault, TOLD};

#[tokio::test]
async fn a_submitted_job_becomes_a_pod_in_a_restricted_namespace_and_leaves_nothing() {
    let installation = Installation::new().await;
    let operator = installation.operator("operator.log", &["--image-grace", "3"]);
    operator.leads().await;
    let begun = Instant::now();
    let fault = Fault::begins("image not to be had");
    let job = installation.submit().await;
    let pods = installation.jobs.pods();
    let name = format!("{}-1", job.id);
    let pod = wait_for("the job has a pod", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    let spec = pod.spec.as_ref().expect("a pod has a spec");
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert_eq!(
        spec.containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>(),
        ["orchestrator", "agent"]
    );
    let client = installation.jobs.client.clone();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &installation.jobs.namespace);
    let secret = secrets.get(&name).await.expect("the token has its secret");
    assert_eq!(secret.owner_references()[0].name, job.id.to_string());
    let policies: Api<NetworkPolicy> = Api::namespaced(client, &installation.jobs.namespace);
    policies.get("ckrv-class-default").await.expect("the class has its policy");
    // The images are nowhere to be had: within seconds the object says so, and after the grace the job has failed.
    let message = installation
        .jobs
        .job(job.id, "the object says what is wrong", |job| {
            let status = job.status.as_ref().filter(|status| status.phase == Some(JobPhase::Pending))?;
            status.message.clone().filter(|message| message.contains("cannot be pulled"))
        })
        .await;
    fault.took("told", TOLD);
    assert!(message.contains("ckrv.invalid/"), "{message}");
    let limit = Duration::from_secs(3) + TOLD * 2;
    fault.ends_as(&installation.stack, job.id, Cause::Image, limit, &["ckrv.invalid/", "cannot be pulled"]).await;
    installation.jobs.gone(job.id).await;
    wait_for("the secret goes with its job", SOON, async || secrets.get_opt(&name).await.ok()?.is_none().then_some(()))
        .await;
}

/// Waits until the job's first attempt has its pod.
async fn has_pod(installation: &Installation, job: JobId) {
    let (pods, name) = (installation.jobs.pods(), format!("{job}-1"));
    wait_for("the job has a pod", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
}

#[tokio::test]
async fn deleting_the_object_cancels_the_job() {
    let installation = Installation::new().await;
    let _operator = installation.operator("operator.log", &[]);
    let job = installation.submit().await;
    has_pod(&installation, job.id).await;
    installation.jobs.jobs().delete(&job.id.to_string(), &DeleteParams::default()).await.expect("it can be deleted");
    let ended = installation.ended(job.id).await;
    assert_eq!((ended.state, ended.cause), (State::Cancelled, Some(Cause::CancelledByRunner)), "{ended:?}");
    installation.jobs.gone(job.id).await;
}

#[tokio::test]
async fn deleting_the_object_cancels_the_job_also_when_its_worker_was_the_first_to_tell() {
    let installation = Installation::new().await;
    let operator = installation.operator("operator.log", &[]);
    let mut twice = spec();
    twice.retries.max_attempts = 2;
    let job = submit(&installation.stack.client(), twice).await.id;
    has_pod(&installation, job).await;
    // In the place of its pod, whose images are nowhere to be had.
    let assignment = assignment_of(&installation.stack.runner_client(), job).await;
    let worker = start_as(installation.stack.worker(&assignment.bootstrap_token.0), 1).await.expect("it can start");
    let process = operator.child.id().expect("it runs").cast_signed();
    stand_still(process);
    installation.jobs.jobs().delete(&job.to_string(), &DeleteParams::default()).await.expect("it can be deleted");
    worker.finish(Some(Cause::Evicted)).await.expect("it can tell");
    // The next attempt waits some seconds: the operator sees that the job is not wanted, and then that it is.
    go_on(process);
    let ended = installation.ended(job).await;
    assert_eq!((ended.state, ended.attempt), (State::Cancelled, 2), "{ended:?}");
    assert_eq!(ended.cause, Some(Cause::CancelledByRunner), "{ended:?}");
    installation.jobs.gone(job).await;
}

#[tokio::test]
async fn cancelling_a_job_whose_worker_never_began_removes_its_pod() {
    let installation = Installation::new().await;
    let _operator = installation.operator("operator.log", &[]);
    let job = installation.submit().await;
    has_pod(&installation, job.id).await;
    installation.stack.client().cancel(job.id).await.expect("it can be cancelled");
    let ended = installation.ended(job.id).await;
    assert_eq!(ended.state, State::Cancelled, "{ended:?}");
    installation.jobs.gone(job.id).await;
}
