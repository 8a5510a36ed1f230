//! Several operators, and what is left of them.

use std::time::Duration;

use ckrv_tests::wait::wait_for;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::cluster::{Installation, Jobs, SOON};
use crate::faults::{Fault, TOLD};

#[tokio::test]
async fn a_standby_takes_over_within_seconds_and_goes_on_from_what_is_there() {
    let installation = Installation::new().await;
    let mut first = installation.operator("first.log", &[]);
    first.leads().await;
    let second = installation.operator("second.log", &[]);
    let job = installation.submit().await;
    let pods = installation.jobs.pods();
    let name = format!("{}-1", job.id);
    let pod = wait_for("the job has a pod", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
    assert_eq!(second.metric("ckrv_operator_leader").await, Some(0.0));
    let fault = Fault::begins("operator killed, taken over");
    first.kill().await;
    second.leads().await;
    fault.took("standby leads", Duration::from_secs(15));
    // The pod of before is the pod of now, and a new job gets one.
    let next = installation.submit().await;
    let next_name = format!("{}-1", next.id);
    wait_for("the next job has a pod", SOON, async || pods.get_opt(&next_name).await.ok().flatten()).await;
    let same = pods.get(&name).await.expect("the pod is still there");
    assert_eq!(same.metadata.uid, pod.metadata.uid);
}

#[tokio::test]
async fn an_operator_that_lost_its_lease_stands_by_and_leads_again_when_nobody_else_does() {
    let installation = Installation::new().await;
    let operator = installation.operator("operator.log", &[]);
    operator.leads().await;
    let pods = installation.jobs.pods();
    let leases: Api<Lease> = Api::namespaced(installation.jobs.client.clone(), &installation.jobs.namespace);
    // Somebody takes it who never renews it.
    let taken = json!({"spec": {"holderIdentity": "somebody", "renewTime": MicroTime(Timestamp::now())}});
    let patched = leases.patch("ckrv-operator", &PatchParams::default(), &Patch::Merge(taken)).await;
    patched.expect("the Lease can be taken");
    let fault = Fault::begins("Lease lost");
    wait_for("it leads no longer", SOON, async || {
        operator.metric("ckrv_operator_leader").await.filter(|leads| *leads == 0.0)
    })
    .await;
    fault.took("leads no longer", TOLD);
    operator.leads().await;
    fault.took("leads again", Duration::from_secs(15));
    let job = installation.submit().await;
    let name = format!("{}-1", job.id);
    wait_for("it takes jobs", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
    let said = installation.stack.log("operator.log");
    assert!(said.contains("leads no longer"), "{said}");
}

#[tokio::test]
async fn a_second_operator_on_one_token_is_refused_and_the_first_goes_on() {
    let installation = Installation::new().await;
    let first = installation.operator("first.log", &[]);
    first.leads().await;
    // In another namespace of the same cluster it would run every job a second time.
    let elsewhere = Jobs::new(&installation.jobs.client).await;
    let fault = Fault::begins("two operators on one token");
    let mut second = installation.operator("second.log", &["--namespace", &elsewhere.namespace]);
    let status = second.ended(SOON).await;
    fault.took("second ended", TOLD * 2);
    let said = installation.stack.log("second.log");
    assert!(!status.success() && said.contains("the control plane refuses this runner"), "{said}");
    assert!(said.contains("in use by another machine or cluster") && said.contains("ckrv runner create"), "{said}");
    let job = installation.submit().await;
    let (pods, name) = (installation.jobs.pods(), format!("{}-1", job.id));
    wait_for("the first takes jobs", SOON, async || pods.get_opt(&name).await.ok().flatten()).await;
}
