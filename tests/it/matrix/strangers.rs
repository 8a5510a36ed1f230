//! Who tries to get in: nobody, people and programs who may no more or never might, others' organizations, and those of ours
//! who may less.

use ckrv_server::auth::KeyOwner;
use ckrv_server::auth::tokens::{self, Signer};
use ckrv_server::db::keys::{self, NewKey};
use ckrv_server::oauth::access_tokens::Issuing;
use ckrv_tests::acting::Worker;
use ckrv_tests::people;
use ckrv_tests::replica::Installation;
use ckrv_types::identity::{Role, Scope};
use ckrv_types::token::{SECRET_BYTES, TokenKind};
use ckrv_types::{AttemptId, JobId, KeyId, LoginId, OrgId, ProjectId, RunnerId, Secret, ServiceAccountId, UserId};
use sqlx::AssertSqlSafe;

use super::scenery::{Neighbour, Spare};

/// For which routes a credential is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those of people's programs, or for none.
    User,
    Runner,
    Worker,
    /// A worker's, before it has begun.
    Bootstrap,
}

/// What a credential is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Dead,
    /// Something, but not for the organization that is asked for.
    NoOrg,
    /// All that there is in another organization.
    Theirs,
    /// All that there is in other projects of ours.
    Limited,
    /// These scopes in ours.
    Ours { role: Role, scopes: Vec<Scope> },
}

#[derive(Debug)]
pub struct Stranger {
    pub name: &'static str,
    pub kind: Kind,
    pub standing: Standing,
    pub token: Option<String>,
    /// The organization that is asked for.
    pub org: Option<String>,
    /// A person's program that was let in for less than all.
    pub narrowed: bool,
}

impl Stranger {
    pub fn new(name: &'static str, kind: Kind, standing: Standing, token: impl Into<String>) -> Self {
        Self { name, kind, standing, token: Some(token.into()), org: None, narrowed: false }
    }

    pub fn is_key(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.starts_with(ckrv_types::token::PREFIX))
    }

    /// Whether it is let in to read.
    pub fn may_read(&self) -> bool {
        matches!(&self.standing, Standing::Ours { scopes, .. } if scopes.contains(&Scope::Read))
    }

    fn user(name: &'static str, standing: Standing, token: impl Into<String>) -> Self {
        Self::new(name, Kind::User, standing, token)
    }

    fn ours(name: &'static str, role: Role, scopes: &[Scope], token: impl Into<String>) -> Self {
        Self::user(name, Standing::Ours { role, scopes: scopes.to_vec() }, token)
    }
}

/// Makes credentials where a server runs.
pub struct Maker<'a>(pub &'a Installation);

impl Maker<'_> {
    pub async fn sql(&self, statement: &str) {
        let mut sql = self.0.sql().await;
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&mut sql)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }

    pub async fn person(&self, org: OrgId, login: &str, role: Role) -> UserId {
        people::add(&mut self.0.sql().await, org, login, role).await
    }

    pub async fn account(&self, org: OrgId, name: &str, role: Role) -> ServiceAccountId {
        let id = ServiceAccountId::new();
        let (uuid, org) = (id.uuid(), org.uuid());
        self.sql(&format!(
            "insert into service_accounts (id, org_id, name, role) values ('{uuid}', '{org}', '{name}', '{role}')"
        ))
        .await;
        id
    }

    /// A key of theirs, which bears our mark if it is of our organization.
    pub async fn key(&self, org: OrgId, owner: KeyOwner, scopes: &[Scope], projects: &[ProjectId]) -> (KeyId, String) {
        let id = KeyId::new();
        let token = tokens::random(TokenKind::Live, id);
        let hash = tokens::hash(token.expose());
        let name = if org == self.0.keys().org { "quagga-key" } else { "key" };
        let new = NewKey { id, org, owner, name, scopes, projects, hash, expires_in_days: None, rotated_from: None };
        let mut tx = self.0.state().db.tenant(org).await.unwrap();
        keys::create(&mut tx, &new).await.unwrap();
        tx.commit().await.unwrap();
        (id, token.expose().to_owned())
    }

    /// An access token of a program that this person has let act for them, and its login.
    pub async fn login(&self, org: OrgId, user: UserId, scopes: &[Scope]) -> (LoginId, String) {
        let id = LoginId::new();
        let (login, user_id, org) = (id.uuid(), user.uuid(), org.uuid());
        let names = scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",");
        self.sql(&format!(
            "insert into logins (id, user_id, org_id, client, scopes, host, address, expires_at)
             values ('{login}', '{user_id}', '{org}', 'ckrv-cli', '{{{names}}}', 'laptop', '127.0.0.1', now() + interval '1 hour')"
        ))
        .await;
        let token = Issuing::new(self.0.state()).await.unwrap().token(id, user, "ckrv-cli", scopes).unwrap();
        (id, token)
    }
}

/// An organization as strangers need it.
pub struct Place<'a> {
    pub on: &'a Installation,
    pub org: OrgId,
}

/// Those without a credential that is worth anything.
pub async fn dead(place: &Place<'_>, elsewhere: &Installation) -> Vec<Stranger> {
    let (maker, org) = (Maker(place.on), place.org);
    let all = &Scope::ALL[..];
    let nobody = |name, token: &str| Stranger::user(name, Standing::Dead, token);
    let mut list = vec![
        Stranger { token: None, ..nobody("anonymous", "") },
        nobody("a malformed token", "ck_live_nonsense"),
        nobody("an empty token", ""),
        nobody("a token that is no text of ours", "eyJhbGciOiJub25lIn0.e30."),
        nobody("a refresh token", place.on.state().signer.refresh_token(LoginId::new(), 1).expose()),
        nobody("an API key of another server", elsewhere.keys().api_key.expose()),
    ];
    let unknown = tokens::compose(TokenKind::Live, KeyId::new(), &[7; SECRET_BYTES]);
    list.push(nobody("a key that nobody made", unknown.expose()));

    let account = maker.account(org, "quagga-account", Role::Owner).await;
    for (name, dies) in
        [("an expired key", "expires_at = now() - interval '1 second'"), ("a revoked key", "revoked_at = now()")]
    {
        let (id, token) = maker.key(org, KeyOwner::ServiceAccount(account), all, &[]).await;
        maker.sql(&format!("update api_keys set {dies} where id = '{}'", id.uuid())).await;
        list.push(nobody(name, &token));
    }
    for (name, account, dies) in [
        ("a key of a suspended service account", "quagga-asleep", "suspended_at = now()"),
        ("a key of a removed service account", "quagga-gone", "removed_at = now()"),
    ] {
        let account = maker.account(org, account, Role::Owner).await;
        let (_, token) = maker.key(org, KeyOwner::ServiceAccount(account), all, &[]).await;
        maker.sql(&format!("update service_accounts set {dies} where id = '{}'", account.uuid())).await;
        list.push(nobody(name, &token));
    }
    for (names, login, dies) in [
        (
            ["a suspended user's login", "a suspended user's key"],
            "quagga-suspended",
            "update users set suspended_at = now() where id = ",
        ),
        (
            ["a suspended member's login", "a suspended member's key"],
            "quagga-shut-out",
            "update members set suspended_at = now() where user_id = ",
        ),
        (
            ["a removed member's login", "a removed member's key"],
            "quagga-removed",
            "delete from members where user_id = ",
        ),
    ] {
        let user = maker.person(org, login, Role::Owner).await;
        let (_, by_login) = maker.login(org, user, all).await;
        let (_, by_key) = maker.key(org, KeyOwner::User(user), all, &[]).await;
        maker.sql(&format!("{dies} '{}'", user.uuid())).await;
        list.extend(names.into_iter().zip([by_login, by_key]).map(|(name, token)| nobody(name, &token)));
    }
    let ada = maker.person(org, "quagga-revoked", Role::Owner).await;
    for (name, dies) in [
        ("a revoked login", "revoked_at = now(), revoked_for = 'user'"),
        ("an expired login", "expires_at = now() - interval '1 second'"),
    ] {
        let (id, token) = maker.login(org, ada, all).await;
        maker.sql(&format!("update logins set {dies} where id = '{}'", id.uuid())).await;
        list.push(nobody(name, &token));
    }
    let other = Maker(elsewhere);
    let user = other.person(elsewhere.keys().org, "elsewhere", Role::Owner).await;
    list.push(nobody("an access token of another server", &other.login(elsewhere.keys().org, user, all).await.1));
    list
}

/// Those who may all in another organization, and in ours nothing.
pub async fn theirs(on: &Installation, org: OrgId, ours: OrgId) -> Vec<Stranger> {
    let maker = Maker(on);
    let account = maker.account(org, "b-account", Role::Owner).await;
    let (_, key) = maker.key(org, KeyOwner::ServiceAccount(account), &Scope::ALL, &[]).await;
    let bob = maker.person(org, "bob", Role::Owner).await;
    let (_, login) = maker.login(org, bob, &Scope::ALL).await;
    let mut list = vec![
        Stranger::user("another organization's owner, by a key", Standing::Theirs, key),
        Stranger::user("another organization's owner, by a login", Standing::Theirs, &login),
    ];
    let naming =
        |name, org: &str| Stranger { org: Some(org.to_owned()), ..Stranger::user(name, Standing::NoOrg, &login) };
    list.push(naming("a login that names our organization by its id", &ours.to_string()));
    list.push(naming("a login that names our organization by its name", "tests"));
    list.push(naming("a login that names no organization", "nowhere"));
    list
}

/// Those of our organization who may less than all. `others`: projects that are not the one that everything is in.
pub async fn ours(place: &Place<'_>, others: [ProjectId; 2]) -> Vec<Stranger> {
    use Scope::{Manage, Read, Run};
    let (maker, org) = (Maker(place.on), place.org);
    let all = &Scope::ALL[..];
    let mut list = Vec::new();
    for (login, [by_login, by_key], role, scopes) in [
        ("quagga-viewer", ["a viewer's login", "a viewer's key"], Role::Viewer, &[Read][..]),
        ("quagga-editor", ["an editor's login", "an editor's key"], Role::Editor, &[Read, Run]),
        ("quagga-admin", ["an admin's login", "an admin's key"], Role::Admin, all),
    ] {
        let user = maker.person(org, login, role).await;
        let (_, token) = maker.login(org, user, all).await;
        list.push(Stranger::ours(by_login, role, scopes, token));
        let (_, token) = maker.key(org, KeyOwner::User(user), all, &[]).await;
        list.push(Stranger::ours(by_key, role, scopes, token));
    }
    let owner = KeyOwner::ServiceAccount(maker.account(org, "quagga-owner", Role::Owner).await);
    for (name, scopes) in [
        ("a key that may only read", &[Read][..]),
        ("a key that may only run", &[Run]),
        ("a key that may only manage", &[Manage]),
        ("a key that may nothing", &[]),
    ] {
        let (_, token) = maker.key(org, owner, scopes, &[]).await;
        list.push(Stranger::ours(name, Role::Owner, scopes, token));
    }
    let ada = maker.person(org, "quagga-ada", Role::Owner).await;
    let (_, token) = maker.login(org, ada, &[Read]).await;
    let narrow = Stranger::ours("an owner's program that may only read", Role::Owner, &[Read], token);
    list.push(Stranger { narrowed: true, ..narrow });
    for (name, projects) in
        [("a key of another project", &others[..1]), ("a key that is limited to two other projects", &others[..])]
    {
        let (_, token) = maker.key(org, owner, all, projects).await;
        list.push(Stranger::user(name, Standing::Limited, token));
    }
    list
}

/// Runners and workers: ours on the routes of others, and others' on theirs.
pub async fn machines(on: &Installation, running: &Worker, spare: &Spare, neighbour: &Neighbour) -> Vec<Stranger> {
    let owner = || Standing::Ours { role: Role::Owner, scopes: Vec::new() };
    let (maker, runner) = (Maker(on), RunnerId::new());
    let revoked = tokens::random(TokenKind::Runner, runner);
    let (id, org, hash) = (runner.uuid(), on.keys().org.uuid(), hex::encode(tokens::hash(revoked.expose())));
    maker
        .sql(&format!(
            "insert into runners (id, org_id, name, token_hash, revoked_at) values ('{id}', '{org}', 'quagga-revoked', '\\x{hash}', now())"
        ))
        .await;
    let unknown = tokens::compose(TokenKind::Runner, RunnerId::new(), &[7; SECRET_BYTES]);
    let attempt = AttemptId { job: JobId::new(), number: 1 };
    let forged = Signer::new(&Secret::new("08".repeat(32))).unwrap();
    let machine = |name, kind, standing, token: &Secret| Stranger::new(name, kind, standing, token.expose());
    vec![
        machine("a revoked runner", Kind::Runner, Standing::Dead, &revoked),
        machine("a runner that nobody made", Kind::Runner, Standing::Dead, &unknown),
        machine("another runner of ours", Kind::Runner, owner(), &spare.token),
        machine("another organization's runner", Kind::Runner, Standing::Theirs, &neighbour.runner_token),
        machine("a worker", Kind::Worker, owner(), &running.started.attempt_token.0),
        machine("another organization's worker", Kind::Worker, Standing::Theirs, &neighbour.attempt_token),
        machine(
            "a worker by a token that we have not signed",
            Kind::Worker,
            Standing::Dead,
            &forged.attempt_token(on.keys().org, attempt, &running.instance),
        ),
        machine(
            "a worker that has not begun, by a token that we have not signed",
            Kind::Bootstrap,
            Standing::Dead,
            &forged.bootstrap_token(on.keys().org, attempt),
        ),
        machine(
            "another organization's worker that has not begun",
            Kind::Bootstrap,
            Standing::Theirs,
            &neighbour.bootstrap_token,
        ),
    ]
}
