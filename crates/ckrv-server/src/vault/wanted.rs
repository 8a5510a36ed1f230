//! Which of its organization's credentials a job is given: what it names, and what it needs without naming it.

use ckrv_types::credential::{Credential, CredentialKind, GitHost, PROVIDERS};
use ckrv_types::repo_url::RepoPolicy;
use ckrv_types::{CredentialId, JobSpec, RepoUrl};

/// The agent that runs a program as it is. It has no model.
const COMMAND: &str = "command";

/// Of the credentials that the job's project may use. First those that the job names; then, unless a named one does for it,
/// one git credential for the repository's host, and one model key for each provider and one for gateways, because which of
/// them the agent speaks to is known to its runner.
pub fn wanted(usable: &[Credential], spec: &JobSpec) -> Vec<CredentialId> {
    let named: Vec<&Credential> = usable.iter().filter(|credential| spec.secrets.contains(&credential.name)).collect();
    let mut wanted = named.clone();
    // What the installation takes was judged when the job was handed in.
    if let Ok(url) = RepoUrl::parse(&spec.repo, &RepoPolicy::embedded())
        && !named.iter().any(|credential| is_for(credential, &url))
    {
        wanted.extend(best(usable.iter().filter(|credential| is_for(credential, &url))));
    }
    let is_key = |credential: &&Credential| credential.kind == CredentialKind::ModelKey;
    if spec.agent != COMMAND && !named.iter().any(is_key) {
        for provider in PROVIDERS {
            wanted.extend(best(usable.iter().filter(is_key).filter(|key| key.host == provider)));
        }
        let is_elsewhere = |key: &&Credential| !PROVIDERS.contains(&key.host.as_str());
        wanted.extend(best(usable.iter().filter(is_key).filter(is_elsewhere)));
    }
    wanted.into_iter().map(|credential| credential.id).collect()
}

fn is_for(credential: &Credential, url: &RepoUrl) -> bool {
    credential.kind.serves(url.kind()) && GitHost::parse(&credential.host).is_some_and(|host| host.is_of(url))
}

/// What is meant for the fewest: the project's own before the organization's, one for a port before one for all ports; by
/// name otherwise.
fn best<'a>(fitting: impl Iterator<Item = &'a Credential>) -> Option<&'a Credential> {
    fitting.min_by_key(|credential| {
        let has_port = GitHost::parse(&credential.host).is_some_and(|host| host.has_port());
        (credential.project.is_none(), !has_port, credential.name.clone())
    })
}

#[cfg(test)]
mod tests {
    use ckrv_types::ProjectId;
    use time::OffsetDateTime;

    use super::*;

    fn credential(name: &str, kind: CredentialKind, host: &str) -> Credential {
        Credential {
            id: CredentialId::new(),
            name: name.to_owned(),
            kind,
            host: host.to_owned(),
            username: None,
            project: None,
            version: 1,
            fingerprint: None,
            created_at: OffsetDateTime::UNIX_EPOCH,
            updated_at: OffsetDateTime::UNIX_EPOCH,
            last_used_at: None,
        }
    }

    fn names(usable: &[Credential], spec: &JobSpec) -> Vec<String> {
        let name = |id| usable.iter().find(|known| known.id == id).unwrap().name.clone();
        wanted(usable, spec).into_iter().map(name).collect()
    }

    fn spec(repo: &str, secrets: &[&str]) -> JobSpec {
        JobSpec { secrets: secrets.iter().map(|name| (*name).to_owned()).collect(), ..JobSpec::new(repo) }
    }

    #[test]
    fn a_repository_is_given_one_credential_of_its_host_that_fits_how_it_is_reached() {
        use CredentialKind::{DeployKey, GitToken};
        let all = [
            credential("a-key", DeployKey, "git.example.com"),
            credential("b-token", GitToken, "git.example.com"),
            credential("c-port", GitToken, "git.example.com:8443"),
            credential("d-other", GitToken, "git.example.org"),
            credential("e-twin", GitToken, "git.example.com"),
        ];
        assert_eq!(names(&all, &spec("https://git.example.com/a/b", &[])), ["b-token"]);
        assert_eq!(names(&all, &spec("https://git.example.com:8443/a/b", &[])), ["c-port"]);
        assert_eq!(names(&all, &spec("git@git.example.com:a/b", &[])), ["a-key"]);
        assert_eq!(names(&all, &spec("https://git.example.net/a/b", &[])), Vec::<String>::new());
        assert_eq!(names(&all, &spec("https://git.example.com/a/b", &["e-twin"])), ["e-twin"]);
        assert_eq!(names(&all, &spec("https://git.example.com/a/b", &["d-other"])), ["d-other", "b-token"]);
        assert_eq!(names(&all, &spec("/srv/a.git", &[])), Vec::<String>::new());
    }

    #[test]
    fn what_is_the_projects_own_goes_before_what_is_everybodys() {
        let own = Credential {
            project: Some(ProjectId::new()),
            ..credential("z", CredentialKind::GitToken, "git.example.com")
        };
        let all = [credential("a", CredentialKind::GitToken, "git.example.com:443"), own];
        assert_eq!(names(&all, &spec("https://git.example.com/a/b", &[])), ["z"]);
    }

    #[test]
    fn a_program_gets_no_model_key_that_it_does_not_name() {
        let key = |name, host| credential(name, CredentialKind::ModelKey, host);
        let all =
            [key("a", "https://gateway.example"), key("b", "anthropic"), key("c", "anthropic"), key("d", "https://x")];
        assert_eq!(names(&all, &spec("/srv/a.git", &[])), Vec::<String>::new());
        assert_eq!(names(&all, &spec("/srv/a.git", &["c"])), ["c"]);
        let agent = |secrets| JobSpec { agent: "claude-code".to_owned(), ..spec("/srv/a.git", secrets) };
        assert_eq!(names(&all, &agent(&[])), ["b", "a"]);
        assert_eq!(names(&all, &agent(&["d"])), ["d"]);
    }
}
