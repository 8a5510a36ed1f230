//! What an administrator does with the database's own rights, outside of the API: the first organization of a new
//! installation, people who sign in by a password, and the vault's keys.

use std::sync::Arc;

pub mod auditing;
pub mod limits;

use std::collections::BTreeMap;

use ckrv_types::identity::{Bootstrapped, Role, Scope};
use ckrv_types::token::TokenKind;
use ckrv_types::{KeyId, OrgId, ProjectId, RunnerId, Secret, ServiceAccountId, UserId};
use serde_json::json;

use crate::auth::tokens::{InvalidSecretKey, Signer};
use crate::auth::{KeyOwner, passwords, tokens};
use crate::config::{ForgetConfig, RotateConfig};
use crate::db::accounts::{self, NewAccount};
use crate::db::audit::{self, Actor, Entry};
use crate::db::keys::{self, NewKey};
use crate::db::{Db, Tx, orgs, runners};
use crate::vault::keyring::{self, Keyring, KeyringError};
use crate::vault::keys::KeyEncryption as _;
use crate::vault::rotate::{self, Rotated, Turn};
use crate::vault::{Vault, VaultError};

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error("this installation has an organization already")]
    Done,
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// Makes the first organization, its project `default`, an API key and the token of a runner of that organization. The
/// tokens are in the answer and nowhere else.
///
/// `namespaces` of the runner's cluster: jobs that are made there by hand go into that project.
pub async fn bootstrap(db: &Db, org_name: &str, namespaces: &[String]) -> Result<Bootstrapped, BootstrapError> {
    let mut tx = db.system().await?;
    // Two at once would each find no organization.
    sqlx::query("lock table orgs in share row exclusive mode").execute(&mut *tx).await?;
    if sqlx::query_scalar("select exists (select from orgs)").fetch_one(&mut *tx).await? {
        return Err(BootstrapError::Done);
    }
    let made = insert(&mut tx, org_name, namespaces).await?;
    tx.commit().await?;
    Ok(made)
}

async fn insert(tx: &mut Tx, org_name: &str, namespaces: &[String]) -> Result<Bootstrapped, sqlx::Error> {
    let (org, project, key, runner) = (OrgId::new(), ProjectId::new(), KeyId::new(), RunnerId::new());
    let (api_key, runner_token) = (tokens::random(TokenKind::Live, key), tokens::random(TokenKind::Runner, runner));
    sqlx::query("insert into orgs (id, name, tier) values ($1, $2, 'enterprise')")
        .bind(org.uuid())
        .bind(org_name)
        .execute(&mut **tx)
        .await?;
    sqlx::query("insert into projects (id, org_id, name) values ($1, $2, 'default')")
        .bind(project.uuid())
        .bind(org.uuid())
        .execute(&mut **tx)
        .await?;
    let account = ServiceAccountId::new();
    sqlx::query("insert into service_accounts (id, org_id, name, role) values ($1, $2, 'bootstrap', 'owner')")
        .bind(account.uuid())
        .bind(org.uuid())
        .execute(&mut **tx)
        .await?;
    let new = NewKey {
        id: key,
        org,
        owner: KeyOwner::ServiceAccount(account),
        name: "bootstrap",
        scopes: &Scope::ALL,
        projects: &[],
        hash: tokens::hash(api_key.expose()),
        expires_in_days: None,
        rotated_from: None,
    };
    keys::create(tx, &new).await?;
    sqlx::query("insert into runners (id, org_id, name, token_hash) values ($1, $2, 'default', $3)")
        .bind(runner.uuid())
        .bind(org.uuid())
        .bind(tokens::hash(runner_token.expose()))
        .execute(&mut **tx)
        .await?;
    sqlx::query("insert into runner_feeds (runner_id) values ($1)").bind(runner.uuid()).execute(&mut **tx).await?;
    let allow: BTreeMap<_, _> = namespaces.iter().map(|namespace| (namespace.clone(), project)).collect();
    runners::allow(tx, org, runner, &allow).await?;
    let made = [
        ("org.created", org.to_string(), json!({ "name": org_name })),
        ("service-account.created", account.to_string(), json!({ "name": "bootstrap", "role": Role::Owner })),
        ("key.created", key.to_string(), json!({ "name": "bootstrap", "service_account": account })),
        ("runner.created", runner.to_string(), json!({ "name": "default", "allow": allow })),
    ];
    for (action, subject, detail) in made {
        let (actor, subject) = (Actor::System, Some(subject));
        audit::write(tx, &Entry { org: Some(org), actor, action, subject, address: None, detail }).await?;
    }
    Ok(Bootstrapped { org, project, api_key, runner, runner_token })
}

/// Why nothing was sealed anew.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("CKRV_SECRET_KEY cannot be used")]
    SecretKey(#[from] InvalidSecretKey),
    #[error("the vault's keys cannot be used")]
    Keys(#[from] KeyringError),
    #[error("another rotation is under way: wait for its end")]
    Underway,
    #[error("it ended before all was done; run it again")]
    Vault(#[from] VaultError),
}

/// Seals all data keys of the vault by the current key, and, if that is wanted, all secrets by new data keys.
pub async fn rotate_vault_key(db: &Db, config: &RotateConfig) -> Result<Rotated, RotateError> {
    let keyring = Keyring::load(&config.vault, &Signer::new(&config.secret_key)?)?;
    let turn = Turn::take(db).await.map_err(VaultError::from)?.ok_or(RotateError::Underway)?;
    let rotated = seal_anew(db, &Vault::new(Arc::new(keyring)), config.data_keys).await;
    turn.end().await;
    Ok(rotated?)
}

async fn seal_anew(db: &Db, vault: &Vault, data_keys: bool) -> Result<Rotated, VaultError> {
    let rotated = vault.rotate(db).await?;
    if !data_keys {
        return Ok(rotated);
    }
    let Rotated { secrets, mut unreadable, .. } = vault.rotate_data_keys(db).await?;
    unreadable.extend(rotated.unreadable);
    Ok(Rotated { secrets, unreadable, ..rotated })
}

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error("CKRV_SECRET_KEY cannot be used")]
    SecretKey(#[from] InvalidSecretKey),
    #[error("the vault's keys cannot be used")]
    Keys(#[from] KeyringError),
    #[error("the key `{0}` is not lost: it is listed. Take it off the list first if its credentials are to be removed")]
    Listed(String),
    #[error("the key `{0}` is not lost: it is derived from CKRV_SECRET_KEY")]
    Derived(String),
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// Removes what a lost key of the vault has sealed; how many credentials there were.
pub async fn forget_vault_key(db: &Db, config: &ForgetConfig) -> Result<usize, ForgetError> {
    let keyring = Keyring::load(&config.vault, &Signer::new(&config.secret_key)?)?;
    if keyring.knows(&config.id) {
        let id = config.id.clone();
        return Err(if keyring::is_derived(&id) { ForgetError::Derived(id) } else { ForgetError::Listed(id) });
    }
    Ok(rotate::forget(db, &config.id).await?)
}

/// A person who is to sign in by a password.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// What they type: lower-case letters, digits, and `.`, `_`, `-` between them; 63 characters at most.
    pub login: String,
    /// What they are called.
    pub name: String,
    pub email: Option<String>,
    /// Name of the organization that they belong to.
    pub org: String,
    pub role: Role,
    pub password: Secret,
}

/// Why no user was made.
#[derive(Debug, thiserror::Error)]
pub enum NewUserError {
    #[error("`{0}` cannot be a login name: 1 to 63 of a-z 0-9 . _ -, a letter or digit first and last")]
    Login(String),
    #[error("a name has 1 to 100 characters")]
    Name,
    #[error("an e-mail address has at most 254 characters and an @")]
    Email,
    #[error("a password has at least {} characters, and at most {} bytes", passwords::MIN_CHARS, passwords::MAX_BYTES)]
    Password,
    #[error("there is no organization `{0}`")]
    NoOrg(String),
    #[error("the login name `{0}` is taken")]
    Taken(String),
    #[error("the database did not answer as it should")]
    Database(#[from] sqlx::Error),
}

/// Makes a person, their local account and their membership, in one transaction.
pub async fn create_user(db: &Db, user: &NewUser) -> Result<UserId, NewUserError> {
    check(user)?;
    let hash = passwords::hash(&user.password);
    let mut tx = db.system().await?;
    let org = orgs::by_name(&mut tx, &user.org).await?.ok_or_else(|| NewUserError::NoOrg(user.org.clone()))?;
    let account = NewAccount {
        login: &user.login,
        name: &user.name,
        email: user.email.as_deref(),
        password_hash: &hash,
        org,
        role: user.role,
    };
    let made = accounts::create(&mut tx, &account).await?.ok_or_else(|| NewUserError::Taken(user.login.clone()))?;
    let entry = Entry {
        org: Some(org),
        actor: Actor::System,
        action: "user.created",
        subject: Some(made.to_string()),
        address: None,
        detail: json!({ "login": user.login, "role": user.role }),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(made)
}

/// Gives a local account another password. `false`: there is no such account.
pub async fn set_password(db: &Db, login: &str, password: &Secret) -> Result<bool, NewUserError> {
    check_password(password)?;
    let hash = passwords::hash(password);
    let mut tx = db.system().await?;
    let found = accounts::set_password(&mut tx, login, &hash).await?;
    if let Some(user) = found {
        let entry = Entry {
            org: None,
            actor: Actor::System,
            action: "password.changed",
            subject: Some(user.to_string()),
            address: None,
            detail: json!({ "login": login }),
        };
        audit::write(&mut tx, &entry).await?;
    }
    tx.commit().await?;
    Ok(found.is_some())
}

fn check(user: &NewUser) -> Result<(), NewUserError> {
    if !accounts::is_login(&user.login) {
        return Err(NewUserError::Login(user.login.clone()));
    }
    if !(1..=100).contains(&user.name.chars().count()) || user.name.chars().any(char::is_control) {
        return Err(NewUserError::Name);
    }
    let is_email = |email: &String| email.chars().count() <= 254 && email.contains('@');
    if !user.email.as_ref().is_none_or(is_email) {
        return Err(NewUserError::Email);
    }
    check_password(&user.password)
}

fn check_password(password: &Secret) -> Result<(), NewUserError> {
    if passwords::fits(password) { Ok(()) } else { Err(NewUserError::Password) }
}
