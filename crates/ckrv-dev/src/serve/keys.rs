//! The secrets of the embedded default: made once, kept in files that only the user may read.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use ckrv_server::admin::{self, BootstrapError, NewUser, NewUserError};
use ckrv_server::config::DatabaseConfig;
use ckrv_server::db::Db;
use ckrv_types::Secret;
use ckrv_types::identity::Role;

use crate::files;

/// Name of the one organization.
const ORG: &str = "dev";

pub struct Keys {
    folder: PathBuf,
    /// Of the server, for signing workers' tokens.
    pub secret_key: Secret,
    /// Of the three database roles.
    pub database_password: Secret,
}

/// What the first organization was given.
pub struct Tokens {
    pub api_key: Secret,
    pub runner_token_file: PathBuf,
}

impl Keys {
    pub fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        files::create_folder(folder)?;
        let lasting = |name: &str| lasting(&folder.join(name));
        Ok(Self {
            secret_key: lasting("server-key")?,
            database_password: lasting("database-password")?,
            folder: folder.to_owned(),
        })
    }

    /// The tokens of the first organization, which is made now if there is none.
    pub async fn tokens(&self, database: &DatabaseConfig) -> anyhow::Result<Tokens> {
        let (api_key_file, runner_token_file) = (self.folder.join("api-key"), self.folder.join("runner-token"));
        match admin::bootstrap(&Db::new(database)?, ORG, &[]).await {
            Ok(made) => {
                files::write(&api_key_file, made.api_key.expose().as_bytes())?;
                files::write(&runner_token_file, made.runner_token.expose().as_bytes())?;
                Ok(Tokens { api_key: made.api_key, runner_token_file })
            }
            Err(BootstrapError::Done) => {
                let api_key = files::read(&api_key_file)?.filter(|_| runner_token_file.exists()).ok_or_else(|| {
                    anyhow!("the database has an organization, and its keys are not in {}", self.folder.display())
                })?;
                Ok(Tokens { api_key: Secret::new(api_key.trim()), runner_token_file })
            }
            Err(error) => Err(error).context("cannot make the first organization"),
        }
    }
}

/// The local account of the embedded default.
pub const LOGIN: &str = "dev";

impl Keys {
    /// Makes the account, or gives it the password that is kept, if the one of before is lost. The file with the password.
    pub async fn account(&self, database: &DatabaseConfig) -> anyhow::Result<PathBuf> {
        let file = self.folder.join("password");
        let is_new = !file.exists();
        let password = lasting(&file)?;
        let db = Db::new(database)?;
        let user = NewUser {
            login: LOGIN.to_owned(),
            name: "Developer".to_owned(),
            email: None,
            org: ORG.to_owned(),
            role: Role::Owner,
            password: password.clone(),
        };
        match admin::create_user(&db, &user).await {
            Err(NewUserError::Taken(_)) if is_new => {
                admin::set_password(&db, LOGIN, &password).await?;
            }
            Ok(_) | Err(NewUserError::Taken(_)) => {}
            Err(error) => return Err(error).context("cannot make the local account"),
        }
        Ok(file)
    }
}

fn lasting(path: &Path) -> anyhow::Result<Secret> {
    if let Some(content) = files::read(path)? {
        return Ok(Secret::new(content.trim()));
    }
    let secret = files::random_secret();
    files::write(path, secret.expose().as_bytes())?;
    Ok(secret)
}
