//! What every command works with: the printer, the files' place, and the control plane to talk to.

use std::cell::Cell;
use std::str::FromStr;

use url::{Host, Url};

use ckrv_client::{Client, ClientConfig, Retry};
use ckrv_types::id::InvalidId;
use ckrv_types::{JobId, Secret};

use crate::cli::Global;
use crate::embedded;
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _};
use crate::format::Format;
use crate::home::Home;
use crate::printer::Printer;
use crate::profile::{self, Profile};

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

    pub fn client(&self) -> Result<Client, Failure> {
        self.client_for(self.access()?)
    }

    pub fn client_for(&self, profile: Profile) -> Result<Client, Failure> {
        let user_agent = concat!("ckrv-cli/", env!("CARGO_PKG_VERSION"));
        Ok(Client::new(ClientConfig {
            retry: Retry::within(self.global.retry_limit),
            allow_plain_http: self.global.allow_plain_http,
            ..ClientConfig::new(profile.server, profile.token, user_agent)
        })?)
    }

    /// Which control plane, and with which token:
    /// 1. server and token from flags or the environment;
    /// 2. otherwise the profile that is named, or in use. A token that is given goes before the profile's.
    ///
    /// A profile's token never goes to another server than its own.
    pub fn access(&self) -> Result<Profile, Failure> {
        let (server, token) = match (&self.global.server, self.token()?) {
            (Some(server), Some(token)) => return Ok(Profile { server: server.clone(), token }),
            parts => parts,
        };
        let name = self.profile_name()?;
        let mut profile = profile::load(&self.home, &name)?;
        if server.as_ref().is_some_and(|server| *server != profile.server) {
            let what = format!("the server is given, but no token for it (profile `{name}` is another server's)");
            return Err(Failure::new(ExitStatus::NotLoggedIn, what).hint("set CKRV_TOKEN"));
        }
        if let Some(token) = token {
            profile.token = token;
        }
        if name == profile::DEV && embedded::look(&self.home)? == embedded::State::Stopped {
            return Err(Failure::new(ExitStatus::Unreachable, "the control plane on this machine does not run")
                .hint("`ckrv dev --detach` starts it"));
        }
        Ok(profile)
    }

    fn token(&self) -> Result<Option<Secret>, Failure> {
        if let Some(token) = &self.global.token {
            return Ok(Some(token.clone()));
        }
        let Some(path) = &self.global.token_file else { return Ok(None) };
        let text =
            std::fs::read_to_string(path).or_fail(|| format!("cannot read the token from {}", path.display()))?;
        Ok(Some(Secret::new(text.trim())))
    }

    fn profile_name(&self) -> Result<String, Failure> {
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
        Err(Failure::new(ExitStatus::NotLoggedIn, what)
            .hint("`ckrv dev --detach` starts one on this machine; for another one set CKRV_SERVER and CKRV_TOKEN"))
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
