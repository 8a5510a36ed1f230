//! An organization with something of everything, its neighbours, and those who try to get in.

use ckrv_tests::acting::SOON;
use ckrv_tests::replica::{Installation, Loops};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::{ORG_HEADER, Role, Scope};
use reqwest::redirect::Policy;

use super::answers::Answer;
use super::asks::Ask;
use super::contract::{Need, Operation};
use super::dump::{Dump, dump};
use super::names::Names;
use super::scenery::{self, MARK, Scenery};
use super::strangers::{self, Kind, Maker, Place, Stranger};

pub struct World {
    pub on: Installation,
    http: reqwest::Client,
    pub ours: Names,
    pub nobodys: Names,
    pub strangers: Vec<Stranger>,
    /// Ids that stand in the rows of those who are let in somewhere: other organizations, and a runner of ours.
    pub theirs: Vec<String>,
    /// What must stand in no answer to another organization.
    pub markers: Vec<String>,
    /// What must stand in no answer to who may see other projects alone.
    pub project_markers: Vec<String>,
    rightful: Rightful,
    _elsewhere: Installation,
}

/// The tokens of those who may.
struct Rightful {
    owner: String,
    person: String,
    runner: String,
    bootstrap: String,
    worker: String,
}

impl World {
    pub async fn new() -> Self {
        let on = Installation::with(Loops::Off, &["--org-creation", "anyone"]).await;
        let elsewhere = Installation::with(Loops::Off, &[]).await;
        let org = on.keys().org;
        let Scenery { ours, nobodys, others, boot, running, spare } = Scenery::new(&on).await;
        let place = Place { on: &on, org };
        let mut strangers = strangers::dead(&place, &elsewhere).await;
        strangers.extend(strangers::ours(&place, others).await);
        let neighbour = scenery::neighbour(&on).await;
        strangers.extend(strangers::theirs(&on, neighbour.org, org).await);
        strangers.extend(strangers::machines(&on, &running, &spare, &neighbour).await);

        let maker = Maker(&on);
        let person = maker.person(org, "quagga-person", Role::Owner).await;
        let rightful = Rightful {
            owner: on.keys().api_key.expose().to_owned(),
            person: maker.login(org, person, &Scope::ALL).await.1,
            runner: on.keys().runner_token.expose().to_owned(),
            bootstrap: boot.bootstrap_token.0.expose().to_owned(),
            worker: running.started.attempt_token.0.expose().to_owned(),
        };
        let mut theirs = neighbour.ids(&on).await;
        // It may do its own work.
        theirs.push(spare.id.uuid().to_string());
        let all: Vec<String> = ours.all().map(|(_, name)| name.to_owned()).collect();
        let project_markers =
            ours.all().filter(|(what, _)| ["project", "job", "attempt"].iter().any(|kind| what.starts_with(kind)));
        let project_markers = project_markers.map(|(_, name)| name.to_owned()).collect();
        let markers = all.into_iter().chain([MARK.to_owned(), org.to_string()]).collect();
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        Self { on, http, ours, nobodys, strangers, theirs, markers, project_markers, rightful, _elsewhere: elsewhere }
    }

    pub async fn dump(&self) -> Dump {
        dump(&mut self.on.sql().await).await
    }

    /// A stranger's try, with things called by these names.
    pub async fn send(&self, operation: &Operation, ask: &Ask, names: &Names, stranger: &Stranger) -> Answer {
        self.request(operation, ask, names, stranger.token.as_deref(), stranger.org.as_deref()).await
    }

    /// The same by whoever may.
    pub async fn send_rightly(&self, operation: &Operation, ask: &Ask) -> Answer {
        let tokens = &self.rightful;
        let token = match operation.need {
            Need::Nothing => None,
            Need::User(_) if ask.by_person => Some(&tokens.person),
            Need::User(_) => Some(&tokens.owner),
            Need::Runner => Some(&tokens.runner),
            Need::Worker if ask.worker == Kind::Bootstrap => Some(&tokens.bootstrap),
            Need::Worker => Some(&tokens.worker),
        };
        self.request(operation, ask, &self.ours, token.map(String::as_str), None).await
    }

    async fn request(
        &self,
        operation: &Operation,
        ask: &Ask,
        names: &Names,
        token: Option<&str>,
        org: Option<&str>,
    ) -> Answer {
        let mut path = operation.path.clone();
        for (parameter, value) in &ask.path {
            path = path.replace(&format!("{{{parameter}}}"), &names.fill(value));
        }
        assert!(!path.contains('{'), "{} is asked without all that is in its path, {path}", operation.id);
        let mut url = self.on.replica.url().join(&path).unwrap();
        url.set_query(Some(names.fill(ask.query)).as_deref().filter(|query| !query.is_empty()));
        let mut request = self.http.request(operation.method.clone(), url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(org) = org {
            request = request.header(ORG_HEADER, org);
        }
        if let Some(media_type) = ask.accept {
            request = request.header("accept", media_type);
        }
        if let Some((media_type, body)) = &ask.body {
            let body = match std::str::from_utf8(body) {
                Ok(text) => names.fill(text).into_bytes(),
                Err(_) => body.clone(),
            };
            request = request.header("content-type", *media_type).body(body);
        }
        // The tests share a database, which may have no connection left for the moment.
        wait_for("the server can serve", SOON, async || {
            let request = request.try_clone().expect("the body is at hand");
            let answer = Answer::of(request.send().await.expect("the server answers")).await;
            (answer.status != 503).then_some(answer)
        })
        .await
    }
}
