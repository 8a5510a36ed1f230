//! The checkout that the user stands in: what a job takes from it by default, and what the job will not see.

use std::path::{Path, PathBuf};

use url::Url;

use super::{Git, GitError};

/// A work tree and its repository.
#[derive(Debug, Clone)]
pub struct Checkout {
    git: Git,
}

/// Where a checkout's `origin` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Somewhere else: a URL or the short ssh form, without credentials.
    Remote(String),
    /// On this machine: an absolute path.
    Local(PathBuf),
    /// It has none.
    None,
}

impl Checkout {
    /// The checkout that `folder` is in.
    pub async fn around(folder: &Path) -> Result<Option<Self>, GitError> {
        match Git::in_checkout(folder).run(&["rev-parse", "--show-toplevel"]).await {
            Ok(root) => Ok(Some(Self { git: Git::in_checkout(root) })),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error @ GitError::Start(_)) => Err(error),
        }
    }

    pub fn git(&self) -> &Git {
        &self.git
    }

    pub fn root(&self) -> &Path {
        self.git.folder()
    }

    pub async fn origin(&self) -> Origin {
        match self.git.run(&["remote", "get-url", "origin"]).await {
            Ok(text) => read_origin(&text, self.root()),
            Err(_) => Origin::None,
        }
    }

    /// The branch that is checked out; none when HEAD is detached.
    pub async fn branch(&self) -> Option<String> {
        self.git.run(&["symbolic-ref", "--quiet", "--short", "HEAD"]).await.ok()
    }

    /// Where the repository keeps its objects: linked work trees share one place.
    pub async fn objects(&self) -> Result<PathBuf, GitError> {
        let path = self.git.run(&["rev-parse", "--git-path", "objects"]).await?;
        Ok(self.root().join(path))
    }

    /// What stands here and a clone of `branch` from origin lacks, as far as this checkout knows.
    pub async fn unseen(&self, branch: &str, pushed: bool) -> Vec<String> {
        let mut unseen = Vec::new();
        let changed = self.git.run(&["status", "--porcelain", "--untracked-files=no", "--ignore-submodules"]).await;
        if changed.is_ok_and(|files| !files.is_empty()) {
            unseen.push("there are uncommitted changes, which the job will not see".to_owned());
        }
        if !pushed {
            return unseen;
        }
        let theirs = format!("refs/remotes/origin/{branch}");
        if !self.git.says(&["rev-parse", "--quiet", "--verify", &theirs]).await {
            unseen.push(format!("`{branch}` has not been pushed to origin, as far as this checkout knows"));
            return unseen;
        }
        let ahead = self.git.run(&["rev-list", "--count", &format!("{theirs}..HEAD")]).await.unwrap_or_default();
        if !matches!(ahead.as_str(), "" | "0") {
            unseen.push(format!("{ahead} commits of `{branch}` have not been pushed, and the job will not see them"));
        }
        unseen
    }
}

fn read_origin(text: &str, root: &Path) -> Origin {
    if let Some(path) = text.strip_prefix("file://") {
        return Origin::Local(absolute(Path::new(path), root));
    }
    if text.contains("://") {
        return Origin::Remote(without_credentials(text));
    }
    // As git itself decides: a colon before the first slash makes it `host:path`.
    let is_path = text.find('/').is_some_and(|slash| !text[..slash].contains(':')) || !text.contains(':');
    if is_path { Origin::Local(absolute(Path::new(text), root)) } else { Origin::Remote(text.to_owned()) }
}

fn absolute(path: &Path, root: &Path) -> PathBuf {
    let joined = root.join(path);
    joined.canonicalize().unwrap_or(joined)
}

/// A user name belongs to ssh, where it is an account; with http it is a credential, and so is every password.
fn without_credentials(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return text.to_owned() };
    // Both fail only for URLs that cannot have credentials.
    let _ = url.set_password(None);
    if url.scheme() != "ssh" {
        let _ = url.set_username("");
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_at_home() {
        for (text, left) in [
            ("https://user:hunter2@host/team/app.git", "https://host/team/app.git"),
            ("https://ghp_token@host/team/app.git", "https://host/team/app.git"),
            ("ssh://git@host/team/app", "ssh://git@host/team/app"),
            ("ssh://git:hunter2@host/team/app", "ssh://git@host/team/app"),
            ("git@host:team/app.git", "git@host:team/app.git"),
        ] {
            assert_eq!(read_origin(text, Path::new("/x")), Origin::Remote(left.into()), "{text}");
        }
    }

    #[test]
    fn paths_are_told_from_hosts_as_git_does() {
        for (text, path) in [
            ("/srv/app.git", "/srv/app.git"),
            ("file:///srv/app.git", "/srv/app.git"),
            ("sub/a:b", "/nowhere/sub/a:b"),
            ("app", "/nowhere/app"),
        ] {
            assert_eq!(read_origin(text, Path::new("/nowhere")), Origin::Local(path.into()), "{text}");
        }
    }
}
