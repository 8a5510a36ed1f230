//! Things to get at: of each kind that a route can name, one that is there, and by its side the name of one that is not.

use ckrv_server::admission;
use ckrv_server::auth::KeyOwner;
use ckrv_server::logs::archive;
use ckrv_tests::acting::{Worker, assignment_of, start};
use ckrv_tests::replica::{Installation, offer, spec, submit};
use ckrv_types::artifact::ArtifactStatus;
use ckrv_types::credential::{CreateCredential, CredentialKind, CredentialSecret};
use ckrv_types::identity::{Bootstrapped, CreateRunner, Role, Scope, UpdateRunner};
use ckrv_types::job::SubmitJob;
use ckrv_types::log::{Line, Stream};
use ckrv_types::runner::{Assignment, HandIn, Origin, Register};
use ckrv_types::worker::{FinishedArtifact, NewArtifact, WorkerPhase};
use ckrv_types::{
    AttemptId, AuditId, CredentialId, InvitationId, JobId, JobSpec, KeyId, OrgId, ProjectId, RunnerId, Secret,
    ServiceAccountId, UserId,
};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::names::Names;
use super::strangers::Maker;

/// In all that is of our organization, and nowhere else.
pub const MARK: &str = "quagga";
const CONTENT: &[u8] = b"a quagga in a file";

pub struct Scenery {
    pub ours: Names,
    pub nobodys: Names,
    /// Projects in which nothing is that the requests name.
    pub others: [ProjectId; 2],
    /// An attempt that nobody has begun.
    pub boot: Assignment,
    /// The worker of an attempt that runs.
    pub running: Worker,
    pub spare: Spare,
}

/// A runner that has nothing to do.
pub struct Spare {
    pub id: RunnerId,
    pub token: Secret,
}

/// Names of ours, each with one of nobody's.
#[derive(Default)]
struct Both {
    ours: Names,
    nobodys: Names,
}

impl Both {
    fn add(&mut self, what: &'static str, ours: impl ToString, nobodys: impl ToString) {
        self.ours.add(what, ours);
        self.nobodys.add(what, nobodys);
    }
}

impl Scenery {
    pub async fn new(on: &Installation) -> Self {
        let mut names = Both::default();
        names.add("project", on.keys().project, ProjectId::new());
        let others = [other_project(on, "two").await, other_project(on, "three").await];
        let (boot, running) = jobs(on, &mut names).await;
        let spare = access(on, &mut names).await;
        let Both { ours, nobodys } = names;
        Self { ours, nobodys, others, boot, running, spare }
    }
}

async fn other_project(on: &Installation, name: &str) -> ProjectId {
    let id = ProjectId::new();
    let (project, org) = (id.uuid(), on.keys().org.uuid());
    let statement = format!("insert into projects (id, org_id, name) values ('{project}', '{org}', '{MARK}-{name}')");
    Maker(on).sql(&statement).await;
    on.client().submit(&SubmitJob { spec: marked(name), project: Some(id) }).await.unwrap();
    id
}

/// A specification that nobody else may read.
fn marked(word: &str) -> JobSpec {
    let mut spec = spec();
    spec.labels.insert("mark".to_owned(), format!("{MARK}-{word}"));
    spec
}

/// Jobs in each state, with logs and artifacts.
async fn jobs(on: &Installation, names: &mut Both) -> (Assignment, Worker) {
    let (client, runner) = (on.client(), on.runner(20).await);
    let mut submitted = Vec::new();
    for what in
        ["job that runs", "job that waits for its worker", "job that is archived", "job that is over", "job to start"]
    {
        let job = submit(&client, marked("one")).await.id;
        names.add(what, job, JobId::new());
        submitted.push(job);
    }
    admission::pass(on.state()).await.unwrap();
    let mut workers = Vec::new();
    for at in [0, 2, 3] {
        let worker = start(&on.replica, &assignment_of(&runner, submitted[at]).await, 1).await.unwrap();
        worker.beat(WorkerPhase::Running).await.unwrap();
        worker.client.append(1, line()).await.unwrap();
        workers.push(worker);
    }
    let [running, archived, over] = workers.try_into().ok().expect("three were started");
    leave(&archived).await;
    archive::tick(on.state()).await.unwrap();
    leave(&over).await;
    names.add("attempt that runs", running.attempt(), nobodys_attempt());
    let unstarted = AttemptId { job: submitted[1], number: 1 };
    names.add("attempt that waits for its worker", unstarted, nobodys_attempt());
    for what in ["job that waits", "job to cancel"] {
        names.add(what, submit(&client, marked("one")).await.id, JobId::new());
    }
    (assignment_of(&runner, submitted[4]).await, running)
}

fn nobodys_attempt() -> AttemptId {
    AttemptId { job: JobId::new(), number: 1 }
}

/// A log's first line, as it is sent.
fn line() -> bytes::Bytes {
    let text = format!("a {MARK} in a log");
    let line = Line { seq: 1, ts: OffsetDateTime::now_utc(), stream: Stream::Stdout, text };
    let line = serde_json::to_string(&line).unwrap() + "\n";
    zstd::bulk::compress(line.as_bytes(), 3).unwrap().into()
}

/// Stores an artifact and finishes.
async fn leave(worker: &Worker) {
    let (name, sha256) = ("files/quagga.txt".to_owned(), hex::encode(Sha256::digest(CONTENT)));
    let size = CONTENT.len() as u64;
    let new = NewArtifact { name: name.clone(), size, sha256, content_type: "text/plain".to_owned() };
    let upload = worker.client.new_artifact(&new).await.unwrap();
    let mut put = reqwest::Client::new().put(&upload.url).body(CONTENT);
    for (name, value) in &upload.headers {
        put = put.header(name, value);
    }
    assert!(put.send().await.unwrap().status().is_success());
    let mut finish = worker.last_word(None);
    finish.last_seq = 1;
    finish.artifacts = vec![FinishedArtifact { name, status: ArtifactStatus::Stored, message: None }];
    worker.client.finish(&finish).await.unwrap();
}

/// Keys, runners, and what they have done; a runner that has nothing to do.
async fn access(on: &Installation, names: &mut Both) -> Spare {
    let client = on.client();
    let allow = || [(MARK.to_owned(), on.keys().project)].into();
    let runner = |name: &str| CreateRunner { name: format!("{MARK}-{name}"), allow: allow() };
    let changed = client.create_runner(&runner("changed")).await.unwrap();
    names.add("runner", changed.item.id, RunnerId::new());
    let revoked = client.create_runner(&runner("revoked")).await.unwrap();
    names.add("runner to revoke", revoked.item.id, RunnerId::new());
    let idle = CreateRunner { name: format!("{MARK}-idle"), allow: [].into() };
    let idle = client.create_runner(&idle).await.unwrap();
    let spare = Spare { id: idle.item.id, token: Secret::new(idle.token) };
    on.replica.runner(&spare.token, 0, &[]).await;

    members(on, names).await;
    for (what, name) in [("credential", "quagga-token"), ("credential to remove", "quagga-old-token")] {
        let new = CreateCredential {
            name: name.to_owned(),
            kind: CredentialKind::GitToken,
            host: "quagga.example.com".to_owned(),
            username: Some("x".to_owned()),
            project: Some(on.keys().project),
            known_hosts: None,
            secret: CredentialSecret(Secret::new("the secret of a quagga")),
        };
        names.add(what, client.create_credential(&new).await.unwrap().id, CredentialId::new());
    }

    let allowed = UpdateRunner { allow: allow() };
    client.update_runner(on.keys().runner, &allowed).await.unwrap();
    let origin = Origin { namespace: MARK.to_owned(), name: "handed-in".to_owned(), uid: "handed-in".to_owned() };
    let hand_in = HandIn { instance: ckrv_tests::replica::MACHINE.to_owned(), origin, spec: marked("handed-in") };
    let runner = on.runner(20).await;
    names.add("job that was handed in", runner.hand_in(&hand_in).await.unwrap().job, JobId::new());

    let entry: sqlx::types::Uuid =
        sqlx::query_scalar("select id from audit_log where org_id is not null order by id limit 1")
            .fetch_one(&mut on.sql().await)
            .await
            .unwrap();
    names.add("audit entry", AuditId::from_uuid(entry), AuditId::new());
    spare
}

/// People, those who are none, their keys, and those who were asked to join.
async fn members(on: &Installation, names: &mut Both) {
    let (maker, org) = (Maker(on), on.keys().org);
    for (what, login, role) in [
        ("member", "quagga-member", Role::Editor),
        ("member to remove", "quagga-leaving", Role::Editor),
        ("owner", "quagga-other-owner", Role::Owner),
    ] {
        names.add(what, maker.person(org, login, role).await, UserId::new());
    }
    for (what, name, role) in [
        ("service account", "quagga-machine", Role::Viewer),
        ("service account to remove", "quagga-obsolete", Role::Viewer),
        ("owning service account", "quagga-mighty", Role::Owner),
    ] {
        names.add(what, maker.account(org, name, role).await, ServiceAccountId::new());
    }
    for what in ["key", "key to rotate"] {
        let owner = KeyOwner::ServiceAccount(maker.account(org, &what.replace(' ', "-"), Role::Viewer).await);
        names.add(what, maker.key(org, owner, &[Scope::Read], &[]).await.0, KeyId::new());
    }
    let inviting = maker.person(org, "quagga-inviting", Role::Owner).await;
    let (invitation, hash) = (InvitationId::new(), hex::encode(Sha256::digest(MARK)));
    maker
        .sql(&format!(
            "insert into invitations (id, org_id, user_id, token_hash, role, note, invited_by, expires_at)
             values ('{}', '{}', '{}', '\\x{hash}', 'viewer', '{MARK}', '{MARK}', now() + interval '1 day')",
            invitation.uuid(),
            org.uuid(),
            inviting.uuid(),
        ))
        .await;
    names.add("invitation", invitation, InvitationId::new());
}

/// Another organization, in which machines of its own work.
pub struct Neighbour {
    pub org: OrgId,
    pub runner_token: Secret,
    pub attempt_token: Secret,
    pub bootstrap_token: Secret,
}

pub async fn neighbour(on: &Installation) -> Neighbour {
    let Bootstrapped { org, api_key, .. } = on.organization("neighbours").await;
    let client = on.replica.client(&api_key);
    let made = client.create_runner(&CreateRunner { name: "theirs".to_owned(), allow: [].into() }).await.unwrap();
    let runner_token = Secret::new(made.token);
    let runner = on.replica.runner(&runner_token, 5, &[]).await;
    let (running, waiting) = (submit(&client, spec()).await.id, submit(&client, spec()).await.id);
    admission::pass(on.state()).await.unwrap();
    let worker = start(&on.replica, &assignment_of(&runner, running).await, 1).await.unwrap();
    let bootstrap_token = assignment_of(&runner, waiting).await.bootstrap_token.0;
    let register = Register { instance: ckrv_tests::replica::MACHINE.to_owned(), offer: offer(0, &[]) };
    runner.register(&register).await.unwrap();
    Neighbour { org, runner_token, attempt_token: worker.started.attempt_token.0, bootstrap_token }
}

impl Neighbour {
    /// Ids that stand in rows of theirs.
    pub async fn ids(&self, on: &Installation) -> Vec<String> {
        let org = self.org.uuid();
        let ids: Vec<sqlx::types::Uuid> = sqlx::query_scalar(
            "select $1 union select id from runners where org_id = $1 union select id from jobs where org_id = $1
             union select user_id from members where org_id = $1",
        )
        .bind(org)
        .fetch_all(&mut on.sql().await)
        .await
        .unwrap();
        ids.iter().map(ToString::to_string).collect()
    }
}
