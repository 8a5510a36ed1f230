//! Profiles: a control plane's address, and the organization and project that are meant there. What a profile is signed in
//! with is kept apart, encrypted ([`crate::credentials`]); only an API key that was set with it is in the profile itself.
//!
//! The profile `dev` is written by the embedded control plane, and is the one in use unless another is chosen.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use url::Url;

use ckrv_types::{ProjectId, Secret, spec::is_name};

use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _};
use crate::home::{self, Home};

/// The embedded control plane's.
pub const DEV: &str = "dev";

/// `profiles/NAME.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    pub server: Url,
    /// An API key, in plain text: the embedded control plane's, which is on this machine alone.
    #[serde(default)]
    pub token: Option<Secret>,
    /// By name or id; absent: the one that was chosen at the login.
    #[serde(default)]
    pub org: Option<String>,
    /// The project that jobs go into, and are listed of.
    #[serde(default)]
    pub project: Option<ProjectId>,
}

impl Profile {
    pub fn of(server: Url) -> Self {
        Self { server, token: None, org: None, project: None }
    }
}

/// The same for writing: the one place where the token leaves its type.
#[derive(Serialize)]
struct Stored<'a> {
    server: &'a Url,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<ProjectId>,
}

/// Reads profile `name`.
pub fn load(home: &Home, name: &str) -> Result<Profile, Failure> {
    find(home, name)?.ok_or_else(|| {
        let failure = Failure::new(ExitStatus::NotLoggedIn, format!("there is no profile `{name}`"));
        failure.hint("`ckrv profile list` shows which there are")
    })
}

/// The same; none: there is none of this name.
pub fn find(home: &Home, name: &str) -> Result<Option<Profile>, Failure> {
    let path = file(home, name)?;
    let Some(text) = home::read(&path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).or_fail(|| format!("cannot understand {}", path.display()))
}

/// Writes profile `name`, readable by the user alone.
pub fn store(home: &Home, name: &str, profile: &Profile) -> Result<(), Failure> {
    let Profile { server, token, org, project } = profile;
    let token = token.as_ref().map(Secret::expose);
    let stored = Stored { server, token, org: org.as_deref(), project: *project };
    let text = serde_json::to_string_pretty(&stored).or_fail(|| "cannot write a profile".into())?;
    home::write(&file(home, name)?, &format!("{text}\n"))
}

/// Removes profile `name`; says whether it was there. If it was the one in use, none is chosen any more.
pub fn remove(home: &Home, name: &str) -> Result<bool, Failure> {
    if chosen(home)?.as_deref() == Some(name) {
        home::remove(&home.active_profile())?;
    }
    home::remove(&file(home, name)?)
}

/// Chooses profile `name` from now on.
pub fn choose(home: &Home, name: &str) -> Result<(), Failure> {
    load(home, name)?;
    home::write(&home.active_profile(), &format!("{name}\n"))
}

/// The profile in use: the chosen one, or `dev` if there is one.
pub fn active(home: &Home) -> Result<Option<String>, Failure> {
    match chosen(home)? {
        Some(name) => Ok(Some(name)),
        None => Ok(file(home, DEV)?.exists().then(|| DEV.to_owned())),
    }
}

/// The names of all profiles, in order.
pub fn names(home: &Home) -> Result<Vec<String>, Failure> {
    let folder = home.profiles();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).or_fail(|| format!("cannot read {}", folder.display())),
    };
    let files = entries.collect::<Result<Vec<_>, _>>().or_fail(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = files
        .iter()
        .filter_map(|file| file.file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .filter(|name| is_name(name))
        .collect();
    names.sort();
    Ok(names)
}

fn chosen(home: &Home) -> Result<Option<String>, Failure> {
    let text = home::read(&home.active_profile())?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// Where profile `name` is.
pub fn file(home: &Home, name: &str) -> Result<std::path::PathBuf, Failure> {
    if !is_name(name) {
        return Err(Failure::usage(format!("`{name}` cannot be a profile (up to 63 of a-z 0-9 - are expected)")));
    }
    Ok(home.profiles().join(format!("{name}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(&folder.path().join("new"))).unwrap();
        (folder, home)
    }

    fn profile(server: &str) -> Profile {
        Profile { token: Some(Secret::new("ck_live_x")), ..Profile::of(server.parse().unwrap()) }
    }

    #[test]
    fn a_profile_survives_its_file() {
        let (_folder, home) = home();
        store(&home, "work", &profile("https://a.example/")).unwrap();
        assert_eq!(load(&home, "work").unwrap(), profile("https://a.example/"));
        assert_eq!(names(&home).unwrap(), ["work"]);
    }

    #[test]
    fn a_profile_without_a_token_has_its_organization_and_project() {
        let (_folder, home) = home();
        let project = ProjectId::new();
        let new = Profile {
            org: Some("acme".into()),
            project: Some(project),
            ..Profile::of("https://a.example/".parse().unwrap())
        };
        store(&home, "work", &new).unwrap();
        assert_eq!(load(&home, "work").unwrap(), new);
        assert_eq!(find(&home, "other").unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_folder, home) = home();
        store(&home, "work", &profile("https://a.example/")).unwrap();
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home.profiles().join("work.json")), 0o600);
        assert_eq!(mode(&home.profiles()), 0o700);
    }

    #[test]
    fn dev_is_in_use_until_another_is_chosen() {
        let (_folder, home) = home();
        assert_eq!(active(&home).unwrap(), None);
        store(&home, DEV, &profile("http://127.0.0.1:1/")).unwrap();
        assert_eq!(active(&home).unwrap().as_deref(), Some(DEV));
        store(&home, "work", &profile("https://a.example/")).unwrap();
        choose(&home, "work").unwrap();
        assert_eq!(active(&home).unwrap().as_deref(), Some("work"));
        assert!(remove(&home, "work").unwrap());
        assert_eq!(active(&home).unwrap().as_deref(), Some(DEV));
        assert!(!remove(&home, "work").unwrap());
    }

    #[test]
    fn a_name_that_is_a_path_is_refused() {
        let (_folder, home) = home();
        for name in ["../x", "", "a/b", "A"] {
            assert!(load(&home, name).is_err(), "{name}");
        }
    }
}
