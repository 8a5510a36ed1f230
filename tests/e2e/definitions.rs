//! AgentJob and JobClass as the API server keeps them.

use ckrv_operator::crd::{AgentJob, JobClass};
use ckrv_types::JobId;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Jobs, cluster};

fn job(spec: &Value) -> AgentJob {
    let id = JobId::new().to_string();
    let mut spec = spec.clone();
    spec["jobID"] = json!(id);
    serde_json::from_value(
        json!({"apiVersion": "ckrv.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": id}, "spec": spec}),
    )
    .expect("an AgentJob")
}

fn refused<T>(result: Result<T, kube::Error>) -> String {
    match result {
        Err(kube::Error::Api(status)) => status.message.clone(),
        Err(other) => panic!("not refused: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_jobs_spec_cannot_be_changed() {
    let jobs = Jobs::new(&cluster().await).await;
    let api = jobs.jobs();
    let made = api.create(&PostParams::default(), &job(&json!({"agent": "command"}))).await.expect("it is good");
    let patch = Patch::Merge(json!({"spec": {"image": "another/image"}}));
    let message = refused(api.patch(&made.name_any(), &PatchParams::default(), &patch).await);
    assert!(message.contains("a job's spec cannot be changed"), "{message}");
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"ckrv.dev/attempt": "2"}}}));
    api.patch(&made.name_any(), &PatchParams::default(), &patch).await.expect("annotations can be");
}

#[tokio::test]
async fn what_is_out_of_range_is_refused_and_what_is_left_out_has_a_default() {
    let jobs = Jobs::new(&cluster().await).await;
    let api = jobs.jobs();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    for spec in [
        json!({"agent": "NOT A NAME"}),
        json!({"agent": "command", "image": ""}),
        json!({"agent": "command", "className": "-"}),
        json!({"agent": "command", "limits": {"startSeconds": 0, "runSeconds": 1, "graceSeconds": 1}}),
        json!({"agent": "command", "limits": {"startSeconds": 1, "runSeconds": 86_401, "graceSeconds": 1}}),
    ] {
        let message = refused(api.create(&dry, &job(&spec)).await);
        assert!(message.contains("is invalid"), "{spec}: {message}");
    }
    let raw: Api<kube::api::DynamicObject> =
        Api::namespaced_with(jobs.client.clone(), &jobs.namespace, &kube::api::ApiResource::erase::<AgentJob>(&()));
    let id = JobId::new().to_string();
    let bare = json!({"apiVersion": "ckrv.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": id}, "spec": {"jobID": id, "agent": "command"}});
    let made = raw.create(&dry, &serde_json::from_value(bare).expect("an object")).await.expect("it is good");
    assert_eq!(made.data["spec"]["limits"]["graceSeconds"], 30, "{}", made.data);
}

#[tokio::test]
async fn a_job_that_is_made_by_hand_says_what_is_to_be_done_and_holds_no_password() {
    let jobs = Jobs::new(&cluster().await).await;
    let (api, dry) = (jobs.jobs(), PostParams { dry_run: true, ..PostParams::default() });
    let made = |spec: Value| -> AgentJob {
        serde_json::from_value(
            json!({"apiVersion": "ckrv.dev/v1alpha1", "kind": "AgentJob", "metadata": {"name": "a"}, "spec": spec}),
        )
        .expect("an AgentJob")
    };
    for repo in ["https://example.com/a.git", "ssh://git@example.com/a.git", "git@example.com:a.git"] {
        api.create(&dry, &made(json!({"repo": repo, "command": ["true"]}))).await.expect("it is good");
    }
    let repo = "https://example.com/a.git";
    api.create(&dry, &made(json!({"repo": repo, "agent": "claude-code", "prompt": "x".repeat(32_768)})))
        .await
        .expect("it is good");
    let id = JobId::new().to_string();
    for (spec, why) in [
        (json!({"command": ["true"]}), "repo is needed"),
        (json!({"repo": repo, "jobID": id, "command": ["true"]}), "jobID is the operator's alone"),
        (json!({"repo": repo}), "needs a command"),
        (json!({"repo": repo, "agent": "claude-code"}), "needs a prompt"),
        (json!({"repo": repo, "agent": "claude-code", "prompt": "x".repeat(32_769)}), "Too long"),
        (json!({"repo": "https://token@example.com/a.git", "command": ["true"]}), "no user and no password"),
        (json!({"repo": "ssh://git:secret@example.com/a.git", "command": ["true"]}), "no user and no password"),
        (json!({"repo": repo, "command": ["true"], "ttlSecondsAfterFinished": -1}), "ttlSecondsAfterFinished"),
        (json!({"repo": repo, "command": ["true"], "retries": {"maxAttempts": 11, "oom": false}}), "maxAttempts"),
    ] {
        let message = refused(api.create(&dry, &made(spec.clone())).await);
        assert!(message.contains(why), "{spec}: {message}");
    }
}

#[tokio::test]
async fn a_class_opens_only_what_is_a_range_of_addresses() {
    let api: Api<JobClass> = Api::all(cluster().await);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let class = |cidr: &str| -> JobClass {
        serde_json::from_value(json!({
            "apiVersion": "ckrv.dev/v1alpha1", "kind": "JobClass", "metadata": {"name": "ckrv-test"},
            "spec": {"egressCIDRs": [cidr], "resources": {"limits": {"memory": "1Gi"}}, "tolerations": [{"operator": "Exists"}]}
        }))
        .expect("a JobClass")
    };
    api.create(&dry, &class("203.0.113.0/24")).await.expect("a range is good");
    let message = refused(api.create(&dry, &class("example.com:443")).await);
    assert!(message.contains("addresses with a prefix length"), "{message}");
}
