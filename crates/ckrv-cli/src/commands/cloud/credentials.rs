//! `ckrv cloud credentials`: what the organization's jobs may use, kept by the control plane and never told again.

use std::path::PathBuf;

use clap::{Subcommand, ValueHint};
use comfy_table::Cell;
use serde::Serialize;

use ckrv_types::credential::{CreateCredential, Credential, CredentialKind, CredentialSecret, ReplaceSecret};
use ckrv_types::{Page, Secret};

use crate::commands::choices::{self, Kind};
use crate::commands::directory::Directory;
use crate::commands::named::{self, find, id_of};
use crate::context::Context;
use crate::duration::{age, moment};
use crate::env;
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _, Outcome};
use crate::format::{Show, View, named as with_id, short};

/// With a git token whose user is not named: hosts look at the token, and want some name beside it.
const TOKEN_USER: &str = "x-access-token";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The secret is read from stdin, or asked for at a terminal; it is never shown again. It is sent to its host and to no other. \
A job is given what fits its repository's host and its agent's provider by itself; `ckrv run --secret NAME` takes a certain one. \
A CREDENTIAL is named by name or id.\n\n\
Examples:\n  ckrv cloud credentials add github --kind git-token --host github.com < token.txt\n  \
ckrv cloud credentials add deploy --kind deploy-key --host git.example.com --known-hosts known_hosts < id_ed25519\n  \
ckrv cloud credentials add anthropic --kind model-key\n  ckrv cloud credentials replace github\n  ckrv cloud credentials list"
)]
pub struct CredentialsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the organization's credentials, without their secrets
    #[command(visible_alias = "ls")]
    List,
    /// Keep a credential
    Add(AddArgs),
    /// Put a new secret in the place of the old one; jobs that begin from now on get it
    Replace {
        /// Name or id
        credential: String,
    },
    /// Forget a credential
    Remove {
        /// Name or id
        credential: String,
    },
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "`ssh-keyscan HOST > FILE` gets the keys that a host shows; compare them with those that its owner names.\n\n\
Examples:\n  ckrv cloud credentials add github --kind git-token --host github.com --username x-access-token < token.txt\n  \
ckrv cloud credentials add deploy --kind deploy-key --host git.example.com:2222 --known-hosts known_hosts < id_ed25519\n  \
ckrv cloud credentials add claude --kind model-key --host anthropic --project website"
)]
struct AddArgs {
    /// Up to 63 of a-z 0-9 -
    name: String,
    /// What it is
    #[arg(long, env = env::CREDENTIALS_KIND, value_enum)]
    kind: Kind,
    /// The one host that it is sent to: HOST or HOST:PORT; of a model key the provider's name or URL [default: NAME]
    #[arg(long, env = env::CREDENTIALS_HOST, required_if_eq_any([("kind", "git-token"), ("kind", "deploy-key")]))]
    host: Option<String>,
    /// The user that a git token is sent with [default: x-access-token, which most hosts take]
    #[arg(long, env = env::CREDENTIALS_USERNAME, value_name = "USER")]
    username: Option<String>,
    /// Limit it to the jobs of one project, by name or id
    #[arg(long, env = env::CREDENTIALS_PROJECT)]
    project: Option<String>,
    /// With a deploy key: file with the only keys that the host may show, as in known_hosts
    #[arg(long, env = env::CREDENTIALS_KNOWN_HOSTS, required_if_eq("kind", "deploy-key"), value_name = "FILE", value_hint = ValueHint::FilePath)]
    known_hosts: Option<PathBuf>,
}

pub async fn run(args: CredentialsArgs, context: &Context) -> Outcome {
    let client = context.client()?;
    match args.command {
        Command::List => {
            let (page, directory) = tokio::join!(client.credentials(), Directory::load(&client, context.format()));
            context.printer.show(&Credentials { page: page?, directory }, context.format())?;
        }
        Command::Add(args) => add(args, context).await?,
        Command::Replace { credential } => {
            let before = find(client.credentials().await?.items, &credential)?;
            let secret = secret(before.kind, context)?;
            context
                .printer
                .show(&client.replace_secret(before.id, &ReplaceSecret { secret }).await?, context.format())?;
        }
        Command::Remove { credential } => {
            let id = id_of(&credential, client.credentials()).await?;
            let question = format!("Remove the credential {credential} ({id})? Jobs that need it will fail.");
            context.confirm(&question).await?;
            client.remove_credential(id).await?;
            context.printer.note(&format!("{credential} ({id}) is removed"));
        }
    }
    Ok(ExitStatus::Done)
}

async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let AddArgs { name, kind, host, username, project, known_hosts } = args;
    let client = context.client()?;
    let known_hosts = known_hosts
        .map(|path| std::fs::read_to_string(&path).or_fail(|| format!("cannot read {}", path.display())))
        .transpose()?;
    let project = match project {
        Some(project) => Some(named::project(&client, &project).await?),
        None => None,
    };
    let host = host.unwrap_or_else(|| name.clone());
    let is_token = CredentialKind::from(kind) == CredentialKind::GitToken;
    let username = username.or_else(|| is_token.then(|| TOKEN_USER.to_owned()));
    let secret = secret(kind.into(), context)?;
    let new = CreateCredential { name, kind: kind.into(), host, username, project, known_hosts, secret };
    context.printer.show(&client.create_credential(&new).await?, context.format())
}

fn secret(kind: CredentialKind, context: &Context) -> Result<CredentialSecret, Failure> {
    if kind == CredentialKind::DeployKey && context.is_interactive() {
        return Err(Failure::usage("a deploy key has many lines and cannot be typed")
            .hint("put its file behind the command: `… < FILE`"));
    }
    let given = context.secret(match kind {
        CredentialKind::GitToken => "Token",
        CredentialKind::DeployKey => "Private key",
        CredentialKind::ModelKey => "Model key",
    })?;
    cleaned(kind, &given).map(CredentialSecret)
}

/// The secret as it is meant, or what it is instead. None of it is repeated.
fn cleaned(kind: CredentialKind, given: &Secret) -> Result<Secret, Failure> {
    let text = given.expose().trim();
    if text.is_empty() {
        return Err(Failure::usage("there is no secret on stdin").hint("put its file behind the command: `… < FILE`"));
    }
    if kind == CredentialKind::DeployKey {
        if !text.starts_with("-----BEGIN ") {
            let what = if text.starts_with("ssh-") || text.starts_with("ecdsa-") { "its public half" } else { "none" };
            return Err(Failure::usage(format!("a private key is expected, and this is {what}"))
                .hint("it begins with `-----BEGIN OPENSSH PRIVATE KEY-----`"));
        }
        return Ok(Secret::new(format!("{}\n", text.replace("\r\n", "\n"))));
    }
    if text.chars().any(char::is_control) {
        return Err(Failure::usage("the secret has more than one line").hint("a private key is of --kind deploy-key"));
    }
    Ok(Secret::new(text))
}

/// As JSON, the API's answer alone.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Credentials {
    page: Page<Credential>,
    #[serde(skip)]
    directory: Directory,
}

impl Show for Credentials {
    fn table(&self, view: View) -> String {
        let rows = self.page.items.iter().map(|credential| {
            let project = credential.project.map(|project| self.directory.name(project));
            [
                Cell::new(credential.id),
                short(&credential.name, 63),
                Cell::new(choices::kind(credential.kind)),
                short(&credential.host, 60),
                short(credential.username.as_deref().unwrap_or_default(), 40),
                short(project.as_deref().unwrap_or("all"), 63),
                Cell::new(credential.version),
                Cell::new(age(credential.updated_at)),
                Cell::new(credential.last_used_at.map(age).unwrap_or_default()),
            ]
        });
        view.columns(["CREDENTIAL", "NAME", "KIND", "HOST", "USER", "PROJECTS", "VERSION", "AGE", "USED"], rows)
    }

    fn names(&self) -> Vec<String> {
        self.page.items.iter().map(|credential| credential.id.to_string()).collect()
    }
}

impl Show for Credential {
    fn table(&self, view: View) -> String {
        let text = |text: &str| Some(short(text, 200));
        view.fields([
            ("credential", Some(with_id(&self.name, self.id))),
            ("kind", Some(Cell::new(choices::kind(self.kind)))),
            ("host", text(&self.host)),
            ("user", self.username.as_deref().and_then(text)),
            ("project", self.project.map(Cell::new)),
            ("fingerprint", self.fingerprint.as_deref().and_then(text)),
            ("version", Some(Cell::new(self.version))),
            ("kept since", Some(Cell::new(moment(self.updated_at)))),
        ])
    }

    fn names(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(kind: CredentialKind, text: &str) -> Result<String, String> {
        match cleaned(kind, &Secret::new(text)) {
            Ok(secret) => Ok(secret.expose().to_owned()),
            Err(Failure::Told(report)) => Err(report.what),
            Err(Failure::Unread) => panic!(),
        }
    }

    #[test]
    fn a_token_is_one_line_without_its_end() {
        assert_eq!(clean(CredentialKind::GitToken, " hunter2 \r\n").as_deref(), Ok("hunter2"));
        for text in ["", " \n", "hunter2\nhunter3"] {
            let what = clean(CredentialKind::ModelKey, text).unwrap_err();
            assert!(!what.contains("hunter"), "{what}");
        }
    }

    #[test]
    fn a_deploy_key_is_a_private_key_with_its_line_ends() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n";
        assert_eq!(clean(CredentialKind::DeployKey, key).as_deref(), Ok(key));
        assert_eq!(clean(CredentialKind::DeployKey, &key.replace('\n', "\r\n")).as_deref(), Ok(key));
        let public = clean(CredentialKind::DeployKey, "ssh-ed25519 AAAA me@here").unwrap_err();
        assert!(public.contains("public half"), "{public}");
        assert!(clean(CredentialKind::DeployKey, "hunter2").is_err());
    }
}
