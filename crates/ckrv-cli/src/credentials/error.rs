//! Why there is no credential, or why one cannot be kept.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use ckrv_client::oauth::OAuthError;

use super::keyring::KeyringError;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// What to do where there is no keyring.
const WAYS: &str = "set CKRV_KEY_FILE (64 hex digits, as by `openssl rand -hex 32`, mode 0600) or CKRV_PASSPHRASE_FILE (mode \
0600), or say --insecure-storage to keep it in plain text; for scripts, CKRV_TOKEN with an API key needs no login at all";

#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    #[error("profile `{profile}` is not signed in")]
    SignedOut { profile: String },
    #[error("the login of profile `{profile}` is over")]
    Ended {
        profile: String,
        #[source]
        source: OAuthError,
    },
    #[error("the login of profile `{profile}` cannot be renewed")]
    NotRenewed {
        profile: String,
        #[source]
        source: OAuthError,
    },
    #[error("there is no keyring to keep the key of the login in")]
    NoKeyring {
        #[source]
        source: KeyringError,
    },
    #[error("cannot open {}: its key is in the system's keyring", path.display())]
    Keyring {
        path: PathBuf,
        #[source]
        source: KeyringError,
    },
    #[error("cannot open {}: its key is in a file of yours", path.display())]
    NeedsKeyFile { path: PathBuf },
    #[error("cannot open {}: it is encrypted with a passphrase, and there is no terminal to ask for it", path.display())]
    NeedsPassphrase { path: PathBuf },
    #[error("{} is no key: 64 hex digits are expected", path.display())]
    KeyFile { path: PathBuf },
    #[error("cannot read the key in {}", path.display())]
    NoKeyFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("others may read {}", path.display())]
    OpenToOthers { path: PathBuf },
    #[error("cannot read the passphrase")]
    Ask {
        #[source]
        source: io::Error,
    },
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    #[error("the passphrases differ")]
    Mistyped,
    #[error("cannot decrypt {}: the key is another one, or the file was changed", path.display())]
    Undecipherable { path: PathBuf },
    #[error("cannot understand {}", path.display())]
    Unreadable { path: PathBuf },
    #[error("cannot {verb} {}", path.display())]
    File {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another ckrv does not let go of {}", path.display())]
    Held { path: PathBuf },
}

impl CredentialError {
    fn status(&self) -> ExitStatus {
        match self {
            Self::SignedOut { .. }
            | Self::Ended { .. }
            | Self::Keyring { .. }
            | Self::NeedsKeyFile { .. }
            | Self::NeedsPassphrase { .. }
            | Self::Undecipherable { .. } => ExitStatus::NotLoggedIn,
            Self::KeyFile { .. }
            | Self::NoKeyFile { .. }
            | Self::OpenToOthers { .. }
            | Self::EmptyPassphrase
            | Self::Mistyped => ExitStatus::Usage,
            Self::Ask { source } if source.kind() == io::ErrorKind::Interrupted => ExitStatus::Interrupted,
            Self::NotRenewed { .. }
            | Self::NoKeyring { .. }
            | Self::Ask { .. }
            | Self::Unreadable { .. }
            | Self::File { .. }
            | Self::Held { .. } => ExitStatus::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::SignedOut { profile } | Self::Ended { profile, .. } => {
                format!("`ckrv cloud login --profile {profile}` signs in")
            }
            Self::NoKeyring { .. } => WAYS.to_owned(),
            Self::Keyring { .. } => {
                format!("unlock the keyring, or sign in again without it: {WAYS}")
            }
            Self::NeedsKeyFile { .. } => "set CKRV_KEY_FILE as at the login".to_owned(),
            Self::NeedsPassphrase { .. } => "set CKRV_PASSPHRASE_FILE to a file with it, mode 0600".to_owned(),
            Self::KeyFile { .. } => "`(umask 077; openssl rand -hex 32 > FILE)` makes one".to_owned(),
            Self::NoKeyFile { path, .. } => {
                format!("`(umask 077; openssl rand -hex 32 > {})` makes it", path.display())
            }
            Self::OpenToOthers { path } => format!("`chmod 600 {}`", path.display()),
            Self::Undecipherable { .. } | Self::Unreadable { .. } => {
                "`ckrv cloud login` replaces it by a new login".to_owned()
            }
            _ => return None,
        })
    }
}

impl From<&CredentialError> for Failure {
    fn from(error: &CredentialError) -> Self {
        let mut failure = Self::new(error.status(), error.to_string());
        if let Some(source) = error.source() {
            failure = failure.because(source);
        }
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        Self::from(&error)
    }
}
