//! How each route is asked: good requests, in which `<what>` stands for the name of a thing that `world` makes.
//!
//! What each needs is not said here but read from the contract.

use reqwest::Method;
use serde_json::{Value, json};

use super::answers::Answer;
use super::expected::Expected;
use super::strangers::Kind;

/// Whom a request concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Where the asker belongs, whichever that is.
    Asker,
    /// A thing in a project of ours.
    Project,
    /// A thing of our organization.
    Organization,
}

#[derive(Debug, Clone)]
pub struct Ask {
    /// Parameters of the path.
    pub path: Vec<(&'static str, &'static str)>,
    pub query: &'static str,
    pub accept: Option<&'static str>,
    pub body: Option<(&'static str, Vec<u8>)>,
    pub about: About,
    /// An admin is refused too.
    pub takes_an_owner: bool,
    /// Only a person's program may ask that was let in for all; no other, and no key.
    pub by_person: bool,
    /// Besides what the route needs, a key has to be good for managing, and so has whoever asks about what is not theirs;
    /// how others are refused.
    pub managed: Option<Expected>,
    /// A person's program may do it for that person.
    pub or_own_by_login: bool,
    /// What it is answered by whoever may: this, or some success.
    pub answers: Option<u16>,
    /// Of workers' routes, which of their tokens is wanted.
    pub worker: Kind,
}

impl Ask {
    const fn new(about: About) -> Self {
        Self {
            path: Vec::new(),
            query: "",
            accept: None,
            body: None,
            about,
            takes_an_owner: false,
            by_person: false,
            managed: None,
            or_own_by_login: false,
            answers: None,
            worker: Kind::Worker,
        }
    }

    fn path(mut self, parameter: &'static str, value: &'static str) -> Self {
        self.path.push((parameter, value));
        self
    }

    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    fn accept(self, media_type: &'static str) -> Self {
        Self { accept: Some(media_type), ..self }
    }

    fn managed(self, otherwise: Expected) -> Self {
        Self { managed: Some(otherwise), ..self }
    }

    fn or_own_by_login(self) -> Self {
        Self { or_own_by_login: true, ..self }
    }

    fn takes_an_owner(self) -> Self {
        Self { takes_an_owner: true, ..self }
    }

    fn by_person(self) -> Self {
        Self { by_person: true, ..self }
    }

    #[expect(clippy::needless_pass_by_value, reason = "a literal")]
    fn json(self, body: Value) -> Self {
        Self { body: Some(("application/json", body.to_string().into_bytes())), ..self }
    }

    fn answers(self, status: u16) -> Self {
        Self { answers: Some(status), ..self }
    }

    fn form(self, body: &'static str) -> Self {
        Self { body: Some(("application/x-www-form-urlencoded", body.into())), ..self }
    }

    pub fn names_in_path(&self) -> bool {
        self.path.iter().any(|(_, value)| value.contains('<'))
    }

    pub fn names_anything(&self) -> bool {
        let text = self.body.as_ref().and_then(|(_, body)| std::str::from_utf8(body).ok());
        let in_body = text.is_some_and(|text| text.contains('<'));
        self.names_in_path() || self.query.contains('<') || in_body
    }

    /// Whether this is the answer to somebody who may.
    pub fn is_good(&self, answer: &Answer) -> bool {
        self.answers.map_or((200..400).contains(&answer.status), |status| status == answer.status)
    }
}

fn own() -> Ask {
    Ask::new(About::Asker)
}

fn of_project() -> Ask {
    Ask::new(About::Project)
}

fn of_organization() -> Ask {
    Ask::new(About::Organization)
}

/// The route's requests; none: nobody has thought of it yet.
pub fn asks(operation: &str) -> Option<Vec<Ask>> {
    let jobs = || jobs(operation);
    let access = || access(operation);
    let oauth = || oauth(operation);
    let teams = || teams(operation);
    let usage = || usage(operation);
    jobs()
        .or_else(access)
        .or_else(teams)
        .or_else(usage)
        .or_else(|| runner(operation))
        .or_else(|| worker(operation))
        .or_else(oauth)
}

/// Each job in a state of its own.
const JOBS: [&str; 4] = ["<job that waits>", "<job that runs>", "<job that is over>", "<job that is archived>"];

fn each_job() -> impl Iterator<Item = Ask> {
    JOBS.into_iter().map(|job| of_project().path("id", job))
}

fn jobs(operation: &str) -> Option<Vec<Ask>> {
    let spec = json!({ "repo": "https://example.com/team/app.git", "command": ["true"] });
    let asks = match operation {
        "getJob" | "explainJob" | "listArtifacts" | "followEvents" => each_job().collect(),
        "listJobs" => vec![own(), own().query("limit=200"), of_project().query("project=<project>")],
        "submitJob" => vec![
            own().json(json!({ "spec": spec })),
            of_project().json(json!({ "spec": spec, "project": "<project>" })),
        ],
        "cancelJob" => vec![
            of_project().path("id", "<job to cancel>"),
            of_project().path("id", "<job that runs>"),
            of_project().path("id", "<job that is over>"),
        ],
        "retryJob" => vec![of_project().path("id", "<job that is over>")],
        "getArtifact" => vec![
            of_project().path("id", "<job that is over>").path("name", "files/quagga.txt"),
            of_project().path("id", "<job that is archived>").path("name", "files/quagga.txt"),
        ],
        "streamLogs" => {
            let forms = ["text/event-stream", "application/x-ndjson", "text/plain"];
            forms.into_iter().flat_map(|form| each_job().map(move |ask| ask.accept(form))).collect()
        }
        _ => return None,
    };
    Some(asks)
}

fn access(operation: &str) -> Option<Vec<Ask>> {
    let asks = match operation {
        "whoAmI" | "listKeys" | "listRunners" | "listCredentials" => vec![own()],
        // A person makes keys of their own without managing.
        "createKey" => vec![
            own().managed(Expected::Forbidden).json(json!({ "name": "quagga-new" })),
            of_organization()
                .managed(Expected::Forbidden)
                .or_own_by_login()
                .json(json!({ "name": "quagga-new", "projects": ["<project>"] })),
            of_organization()
                .managed(Expected::Forbidden)
                .json(json!({ "name": "quagga-new", "service_account": "<service account>" })),
        ],
        "revokeKey" => vec![of_organization().managed(Expected::NotThere).path("id", "<key>")],
        "rotateKey" => {
            vec![of_organization().managed(Expected::NotThere).path("id", "<key to rotate>").json(json!({}))]
        }
        "createRunner" => vec![
            own().json(json!({ "name": "quagga-new" })),
            of_organization().json(json!({ "name": "quagga-newer", "allow": { "*": "<project>" } })),
        ],
        "updateRunner" => vec![
            of_organization().path("id", "<runner>").json(json!({ "allow": {} })),
            of_organization().path("id", "<runner>").json(json!({ "allow": { "*": "<project>" } })),
        ],
        "revokeRunner" => vec![of_organization().path("id", "<runner to revoke>")],
        "listAudit" => vec![
            own(),
            own().query("limit=200"),
            own().accept("application/x-ndjson"),
            of_organization().query("after=<audit entry>").accept("application/x-ndjson"),
        ],
        "createCredential" => {
            let new = |name: &str, more: (&str, &str)| {
                let mut new = json!({
                    "name": name, "kind": "git_token", "host": "git.example.com", "username": "x", "secret": "of-nobody-at-all",
                });
                if !more.0.is_empty() {
                    new[more.0] = more.1.into();
                }
                new
            };
            vec![
                own().json(new("quagga-new", ("", ""))),
                of_organization().json(new("quagga-newer", ("project", "<project>"))),
            ]
        }
        "replaceSecret" => {
            vec![of_organization().path("id", "<credential>").json(json!({ "secret": "of-nobody-either" }))]
        }
        "removeCredential" => vec![of_organization().path("id", "<credential to remove>")],
        _ => return None,
    };
    Some(asks)
}

fn teams(operation: &str) -> Option<Vec<Ask>> {
    let asks = match operation {
        "listOrgs" | "getOrg" | "listMembers" | "listInvitations" | "listProjects" | "listServiceAccounts" => {
            vec![own()]
        }
        "updateOrg" => vec![own().json(json!({ "name": "tests" }))],
        "createOrg" => vec![own().by_person().json(json!({ "name": "quagga-new" }))],
        "updateMember" => vec![
            of_organization().path("user", "<member>").json(json!({ "role": "viewer" })),
            of_organization().path("user", "<member>").json(json!({ "suspended": true })),
            of_organization().takes_an_owner().path("user", "<owner>").json(json!({ "suspended": true })),
            of_organization().takes_an_owner().path("user", "<member>").json(json!({ "role": "owner" })),
        ],
        "removeMember" => vec![
            of_organization().managed(Expected::Forbidden).path("user", "<member to remove>"),
            of_organization().managed(Expected::Forbidden).takes_an_owner().path("user", "<owner>"),
        ],
        "createInvitation" => {
            vec![own().json(json!({ "role": "viewer" })), own().takes_an_owner().json(json!({ "role": "owner" }))]
        }
        // The link is good, and who may take it is a member already: it is there for the keys that might not.
        "acceptInvitation" => vec![own().by_person().json(json!({ "token": "quagga" })).answers(409)],
        "revokeInvitation" => vec![of_organization().path("id", "<invitation>")],
        "getProject" => vec![of_project().path("id", "<project>")],
        "createProject" => vec![own().json(json!({ "name": "quagga-new" }))],
        "updateProject" => vec![of_organization().path("id", "<project>").json(json!({ "settings": {} }))],
        "createServiceAccount" => vec![
            own().json(json!({ "name": "quagga-new", "role": "viewer" })),
            own().takes_an_owner().json(json!({ "name": "quagga-newer", "role": "owner" })),
        ],
        "updateServiceAccount" => vec![
            of_organization().path("id", "<service account>").json(json!({ "role": "viewer" })),
            of_organization().takes_an_owner().path("id", "<service account>").json(json!({ "role": "owner" })),
            of_organization()
                .takes_an_owner()
                .path("id", "<owning service account>")
                .json(json!({ "suspended": true })),
        ],
        "removeServiceAccount" => vec![
            of_organization().path("id", "<service account to remove>"),
            of_organization().takes_an_owner().path("id", "<owning service account>"),
        ],
        _ => return None,
    };
    Some(asks)
}

fn usage(operation: &str) -> Option<Vec<Ask>> {
    let asks = match operation {
        "getQuota" => vec![own()],
        "getUsage" => {
            ["", "by=project", "by=key", "by=user", "by=service_account", "by=day"].map(|by| own().query(by)).into()
        }
        _ => return None,
    };
    Some(asks)
}

fn runner(operation: &str) -> Option<Vec<Ask>> {
    let offer = json!({ "capacity": 1, "version": "0.0.0" });
    let asks = match operation {
        "registerRunner" => vec![own().json(json!({ "instance": "test-machine", "offer": offer }))],
        "runnerHeartbeat" => vec![of_organization().json(json!({
            "instance": "test-machine", "offer": offer, "holding": ["<attempt that runs>"],
        }))],
        "listAssignments" => vec![own()],
        "observe" => ["launched", "waiting", "ended"]
            .map(|phase| {
                let seen =
                    json!({ "attempt": "<attempt that waits for its worker>", "phase": phase, "message": "quagga" });
                of_organization().json(json!({ "instance": "test-machine", "items": [seen] }))
            })
            .into(),
        "handInJob" => vec![of_organization().json(json!({
            "instance": "test-machine",
            "origin": { "namespace": "quagga", "name": "aj", "uid": "of-the-matrix" },
            "spec": { "repo": "https://example.com/team/app.git", "command": ["true"] },
        }))],
        "getStandings" => vec![of_organization().query("ids=<job that was handed in>,<job that runs>")],
        _ => return None,
    };
    Some(asks)
}

fn worker(operation: &str) -> Option<Vec<Ask>> {
    let instance = "01".repeat(16);
    let asks = match operation {
        "startAttempt" => {
            let ask = own().json(json!({ "instance": instance, "version": "0.0.0" }));
            vec![Ask { worker: Kind::Bootstrap, ..ask }]
        }
        "workerHeartbeat" => vec![own().json(json!({ "instance": instance, "phase": "running" }))],
        "appendLog" => {
            let line = json!({ "seq": 2, "ts": "2026-11-21T12:00:00Z", "stream": "stdout", "text": "quagga" });
            let frame = zstd::bulk::compress(format!("{line}\n").as_bytes(), 3).expect("it can be compressed");
            let body = Some((ckrv_types::worker::LOG_MEDIA_TYPE, frame));
            vec![Ask { body, ..own().query("first_seq=2") }]
        }
        "offerArtifact" => vec![own().json(json!({
            "name": "files/more.txt", "size": 1, "sha256": "0".repeat(64), "content_type": "text/plain",
        }))],
        "finishAttempt" => vec![own().json(json!({
            "instance": instance, "outcome": {}, "last_seq": 2, "artifacts": [],
        }))],
        _ => return None,
    };
    Some(asks)
}

/// What anybody may ask.
fn oauth(operation: &str) -> Option<Vec<Ask>> {
    let asks = match operation {
        "alive" | "ready" | "health" | "authorizationServer" | "jwks" => vec![own()],
        // With what changes nothing: whoever has a good one is whom it is for.
        "authorizeDevice" => vec![own().form("client_id=nobody").answers(401)],
        "revoke" => vec![own().form("client_id=ckrv-cli&token=quagga")],
        "token" => {
            vec![own().form("client_id=ckrv-cli&grant_type=refresh_token&refresh_token=quagga").answers(400)]
        }
        _ => return None,
    };
    Some(asks)
}

/// Requests that change something have their place: those that end a thing come last.
pub fn rank(method: &Method, operation: &str) -> u8 {
    match (method, operation) {
        (&Method::GET, _) => 0,
        (_, "finishAttempt") => 2,
        (&Method::DELETE, _) => 3,
        _ => 1,
    }
}
