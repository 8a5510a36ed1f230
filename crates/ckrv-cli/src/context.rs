//! What every command works with: the printer, the files' place, and the control plane to talk to.

use std::cell::Cell;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

use ckrv_client::{Client, ClientConfig, Credential, Retry};
use ckrv_types::id::InvalidId;
use ckrv_types::{JobId, ProjectId, Secret};

use crate::cli::Global;
use crate::credentials::source::Source;
use crate::credentials::{KeySources, Store};
use crate::embedded;
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _};
use crate::format::Format;
use crate::home::Home;
use crate::printer::Printer;
use crate::profile::{self, Profile};

/// A control plane, and who asks it for what.
pub struct Access {
    pub server: Url,
    pub credential: Credential,
    pub org: Option<String>,
    /// Where jobs go, unless something else is said.
    pub project: Option<ProjectId>,
    pub origin: Origin,
}

/// Where a credential comes from.
#[derive(Clone)]
pub enum Origin {
    /// The variable itself.
    Environment,
    TokenFile(PathBuf),
    /// The profile has it in plain text.
    Profile(PathBuf),
    /// What the profile is signed in with.
    Credentials(Arc<Source>),
}

/// The surroundings of one command.
pub struct Context {
    pub printer: Printer,
    pub home: Home,
    global: Global,
    /// The job that a Ctrl-C would leave behind.
    watched: Cell<Option<JobId>>,
}

impl Context {
    pub fn new(global: Global, printer: Printer) -> Result<Self, Failure> {
        let home = Home::find(global.home.as_deref())?;
        Ok(Self { printer, home, global, watched: Cell::new(None) })
    }

    pub fn format(&self) -> Format {
        self.global.format
    }

    /// Remembers the job whose user is watching.
    pub fn watch(&self, job: JobId) {
        self.watched.set(Some(job));
    }

    pub fn watched(&self) -> Option<JobId> {
        self.watched.get()
    }

    /// What the global options say of a profile's name and a server; for those who make or change profiles.
    pub fn named(&self) -> (Option<&str>, Option<&Url>) {
        (self.global.profile.as_deref(), self.global.server.as_ref())
    }

    /// The organization that the command line or the environment names.
    pub fn org(&self) -> Option<&str> {
        self.global.org.as_deref()
    }

    /// Whether a token in the environment goes before any profile.
    pub fn has_token(&self) -> bool {
        self.global.token.is_some() || self.global.token_file.is_some()
    }

    /// Whether somebody sits there who can be asked.
    pub fn is_interactive(&self) -> bool {
        self.printer.stderr().terminal && io::stdin().is_terminal()
    }

    /// Asks whether to do what cannot be undone, if somebody is there and has not said `--yes`.
    pub async fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.global.yes || !self.is_interactive() {
            return Ok(());
        }
        self.printer.ask(&format!("{question} [y/N] "));
        let read = || std::io::stdin().lines().next().transpose();
        // Not here: Ctrl-C is to be heard meanwhile.
        let answer = tokio::task::spawn_blocking(read).await.or_fail(|| "cannot ask".into())?;
        let answer = answer.or_fail(|| "cannot read the answer".into())?.unwrap_or_default();
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::failed("nothing was done").hint("--yes does it without a question")),
        }
    }

    /// A secret that must not be seen: asked for without an echo where somebody sits there, otherwise what stands on stdin.
    pub fn secret(&self, prompt: &str) -> Result<Secret, Failure> {
        if self.is_interactive() {
            let typed = rpassword::prompt_password(format!("{prompt}: "));
            return typed.map(Secret::new).or_fail(|| format!("cannot read: {prompt}"));
        }
        read_stdin().map(Secret::new)
    }

    pub fn client(&self) -> Result<Client, Failure> {
        self.client_for(self.access()?)
    }

    pub fn client_for(&self, access: Access) -> Result<Client, Failure> {
        Ok(Client::new(ClientConfig { org: access.org, ..self.config(access.server, access.credential) })?)
    }

    /// A client that is to ask `server` by `credential`.
    pub fn config(&self, server: Url, credential: impl Into<Credential>) -> ClientConfig {
        let user_agent = concat!("ckrv-cli/", env!("CARGO_PKG_VERSION"));
        ClientConfig {
            retry: Retry::within(self.global.retry_limit),
            allow_plain_http: self.global.allow_plain_http,
            ..ClientConfig::new(server, credential, user_agent)
        }
    }

    /// Where the credential of a profile is kept.
    pub fn store(&self, profile: &str, server: &Url) -> Store {
        let keys = KeySources {
            key_file: self.global.key_file.clone(),
            passphrase_file: self.global.passphrase_file.clone(),
            may_ask: self.is_interactive(),
        };
        Store::new(&self.home, profile, server, keys)
    }

    /// Which control plane, and with which token:
    /// 1. server and token from flags or the environment;
    /// 2. otherwise the profile that is named, or in use. A token that is given goes before the profile's.
    ///
    /// A profile's token never goes to another server than its own.
    pub fn access(&self) -> Result<Access, Failure> {
        let org = self.global.org.clone();
        let (server, token) = match (&self.global.server, self.token()?) {
            (Some(server), Some((token, origin))) => {
                return Ok(Access { server: server.clone(), credential: token.into(), org, project: None, origin });
            }
            parts => parts,
        };
        let name = self.profile_name()?;
        let profile = profile::load(&self.home, &name)?;
        if server.as_ref().is_some_and(|server| *server != profile.server) {
            let what = format!("the server is given, but no token for it (profile `{name}` is another server's)");
            return Err(Failure::new(ExitStatus::NotLoggedIn, what).hint("set CKRV_TOKEN"));
        }
        if name == profile::DEV && embedded::look(&self.home)? == embedded::State::Stopped {
            return Err(Failure::new(ExitStatus::Unreachable, "the control plane on this machine does not run")
                .hint("`ckrv dev --detach` starts it"));
        }
        // A project belongs to one organization.
        let project = profile.project.filter(|_| org.is_none() || org == profile.org);
        let (credential, origin) = match token {
            Some((token, origin)) => (token.into(), origin),
            None => self.credential_of(&name, &profile)?,
        };
        Ok(Access { server: profile.server, credential, org: org.or(profile.org), project, origin })
    }

    /// The access that a profile gives by itself.
    pub fn access_of(&self, name: &str, profile: &Profile) -> Result<Access, Failure> {
        let (credential, origin) = self.credential_of(name, profile)?;
        let Profile { server, org, project, .. } = profile.clone();
        Ok(Access { server, credential, org, project, origin })
    }

    fn credential_of(&self, name: &str, profile: &Profile) -> Result<(Credential, Origin), Failure> {
        if let Some(token) = &profile.token {
            let path = profile::file(&self.home, name)?;
            return Ok((token.clone().into(), Origin::Profile(path)));
        }
        let config = self.config(profile.server.clone(), Credential::None);
        let source = Arc::new(Source::new(self.store(name, &profile.server), config));
        Ok((Credential::Source(source.clone()), Origin::Credentials(source)))
    }

    fn token(&self) -> Result<Option<(Secret, Origin)>, Failure> {
        if let Some(token) = &self.global.token {
            return Ok(Some((token.clone(), Origin::Environment)));
        }
        let Some(path) = &self.global.token_file else { return Ok(None) };
        let text =
            std::fs::read_to_string(path).or_fail(|| format!("cannot read the token from {}", path.display()))?;
        Ok(Some((Secret::new(text.trim()), Origin::TokenFile(path.clone()))))
    }

    pub fn profile_name(&self) -> Result<String, Failure> {
        if let Some(name) = &self.global.profile {
            return Ok(name.clone());
        }
        if let Some(name) = profile::active(&self.home)? {
            return Ok(name);
        }
        let what = match (&self.global.server, &self.global.token) {
            (Some(_), _) => "CKRV_SERVER is set, and no token for it",
            (None, Some(_)) => "CKRV_TOKEN is set, and no server for it",
            (None, None) => "no control plane to talk to",
        };
        Err(Failure::new(ExitStatus::NotLoggedIn, what).hint(
            "`ckrv dev --detach` starts one on this machine; `ckrv cloud login --server URL` signs in to another one, \
                 and CKRV_SERVER with CKRV_TOKEN needs no login",
        ))
    }
}

/// Whether `url` is this machine: its files are the server's files.
pub fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A job's id as the user typed it.
pub fn job_id(text: &str) -> Result<JobId, Failure> {
    id(text, "`ckrv list` shows your jobs")
}

/// An id as the user typed it; one that cannot exist is not found, and `hint` says where to look.
pub fn id<T: FromStr<Err = InvalidId>>(text: &str, hint: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: InvalidId| Failure::new(ExitStatus::NotFound, error.to_string()).hint(hint))
}

/// What stands on stdin, for secrets and prompts.
pub fn read_stdin() -> Result<String, Failure> {
    std::io::read_to_string(std::io::stdin()).or_fail(|| "cannot read stdin".into())
}
