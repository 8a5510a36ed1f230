//! Where a job's pod can go. Every door is first seen open, by the same script, with a policy that lets everything through;
//! only then it says something that a door is shut.

use std::collections::BTreeMap;

use ckrv_tests::wait::wait_for;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::decoys::{Decoys, tell};
use crate::cluster::{SOON, cluster};
use crate::release::{Release, Wanted};

const SCRIPT: &str = include_str!("doors.sh");
/// The class that opens every range.
const WIDE: &str = "wide";
/// Who comes in at the agent's own door.
const VISITOR: &str = "the agent's own";

/// What was seen of each door.
type Seen = BTreeMap<String, String>;

#[tokio::test]
async fn a_jobs_pod_reaches_the_server_the_store_and_names_and_nothing_else() {
    let client = cluster().await;
    let mut decoys = Decoys::stand(&client).await;
    let wide = format!("{WIDE}-{}", decoys.elsewhere.namespace);
    let values = json!({
        "operator": { "closedCidrs": decoys.of_the_cluster() },
        "classes": { &wide: { "egressCIDRs": ["0.0.0.0/0"] } },
    });
    let closed = json!({ "egressCIDRs": [] });
    let release = Release::with(Wanted { values, class: closed, ..Wanted::default() }).await;
    release.repo.repo.commit(&[("doors.sh", SCRIPT)], "Look around");
    decoys.database(&release).await;
    decoys.operator(&release).await;
    for reason in &decoys.missing {
        tell(&format!("not looked at: {reason}"));
    }

    let open = Open::all(&release).await;
    let seen = look(&release, &decoys, &[]).await;
    assert_eq!(seen, expected(&decoys, |_| "open"), "with all doors open");
    open.shut(&release).await;

    let seen = look(&release, &decoys, &[]).await;
    assert_eq!(seen, expected(&decoys, |_| "shut"), "by the class's policy");

    // A range is open without what is closed within it: link-local addresses, and what the operator was told.
    let seen = look(&release, &decoys, &["--class", &wide]).await;
    let outside = |door: &str| if door == "outside" { "open" } else { "shut" };
    assert_eq!(seen, expected(&decoys, outside), "by the policy of a class that opens 0.0.0.0/0");
    release.clean().await;
}

/// `state` of each door; what is there for jobs answers in any case, and refuses.
fn expected(decoys: &Decoys, state: impl Fn(&str) -> &'static str) -> Seen {
    let doors = decoys.doors().iter().map(|(name, _)| (*name, state(name)));
    let by_design = [("names", "open"), ("server", "401"), ("store", "403"), (VISITOR, state(VISITOR))];
    doors.chain(by_design).map(|(name, state)| (name.to_owned(), state.to_owned())).collect()
}

/// Has a job look at every door, from its first moment on.
async fn look(release: &Release, decoys: &Decoys, options: &[&str]) -> Seen {
    let relays = release.stack.relays();
    let mut words: Vec<_> = decoys.doors().iter().map(|(name, at)| format!("{name}={at}")).collect();
    words.push(format!("server={}/v1/jobs", relays.server.address()));
    words.push(format!("store={}/", relays.s3.address()));
    let script = format!("bash doors.sh {}", words.join(" "));
    let job = release.stack.submit(&release.repo.url(), options, &script).await;
    release.stack.until_printed(job, "at home").await;
    let (pods, name) = (release.jobs.pods(), format!("{job}-1"));
    // The cluster may tell of it later than the pod itself.
    let ip = wait_for("the job's pod has an address", SOON, async || pods.get(&name).await.ok()?.status?.pod_ip).await;
    let knock = format!("timeout 4 bash -c ': 3<>/dev/tcp/{ip}/8000' 2>/dev/null && echo open || echo shut");
    let visited = decoys.in_pod(release, &knock).await;
    release.kubectl(&["exec", &name, "--container", "agent", "--", "touch", "/tmp/visited"]).await.exits(0);
    let ended = release.stack.ended(job).await;
    let log = release.stack.logs(job).await;
    assert_eq!(ended.cause, None, "{log}");
    let lines = log.out.lines().filter(|line| *line != "at home").filter_map(|line| line.split_once(' '));
    let mut seen: Seen = lines.map(|(name, state)| (name.to_owned(), state.to_owned())).collect();
    seen.insert(VISITOR.to_owned(), visited.trim().to_owned());
    seen
}

/// A policy beside the others: what any of them lets through goes through.
struct Open(Api<NetworkPolicy>);

impl Open {
    const NAME: &str = "all-doors-open";

    async fn all(release: &Release) -> Self {
        let api: Api<NetworkPolicy> = Api::namespaced(release.jobs.client.clone(), &release.jobs.namespace);
        let policy = json!({
            "metadata": { "name": Self::NAME },
            "spec": { "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}] },
        });
        let policy = serde_json::from_value(policy).expect("a policy");
        api.create(&PostParams::default(), &policy).await.expect("the cluster takes the policy");
        Self(api)
    }

    async fn shut(self, release: &Release) {
        self.0.delete(Self::NAME, &DeleteParams::default()).await.expect("it can be deleted");
        let policies = self.0.list(&ListParams::default()).await.expect("policies can be listed");
        let selecting = policies.items.iter().filter_map(|policy| policy.metadata.name.as_deref());
        let class = format!("ckrv-class-{}", release.class());
        assert!(selecting.clone().any(|name| name == class), "the operator has made no policy: {policies:?}");
        wait_for("the open policy is gone", SOON, async || {
            self.0.get_opt(Self::NAME).await.ok()?.is_none().then_some(())
        })
        .await;
    }
}
