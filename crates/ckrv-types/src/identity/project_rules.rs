//! What a project's settings may be, and what they make of a job that is submitted to it.

use super::ProjectSettings;
use crate::limits;
use crate::problem::FieldError;
use crate::repo_url::{RepoPolicy, RepoUrl};
use crate::spec::{JobSpec, is_name};

impl ProjectSettings {
    /// The rules that these settings break, by field below `settings`.
    pub fn check(&self, policy: &RepoPolicy) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut add = |field: &str, message: String| {
            errors.push(FieldError { field: format!("settings.{field}"), message });
        };
        if self.concurrency.is_some_and(|most| most > limits::PROJECT_CONCURRENCY) {
            add("concurrency", format!("0 to {}", limits::PROJECT_CONCURRENCY));
        }
        if self.class.as_deref().is_some_and(|class| !is_name(class)) {
            add("class", "a name of a-z 0-9 - is expected".to_owned());
        }
        if self.classes.len() > limits::PROJECT_LIST || !self.classes.iter().all(|class| is_name(class)) {
            add("classes", format!("names of a-z 0-9 - are expected, at most {}", limits::PROJECT_LIST));
        }
        if let Some(class) = self.class.as_ref().filter(|class| !self.has_class(class)) {
            add("class", format!("`{class}` is none of `classes`"));
        }
        if self.max_run_seconds.is_some_and(|most| most == 0 || u64::from(most) > limits::RUN_MAX) {
            add("max_run_seconds", format!("1 to {}", limits::RUN_MAX));
        }
        if self.repositories.len() > limits::PROJECT_LIST {
            add("repositories", format!("at most {}", limits::PROJECT_LIST));
        }
        for pattern in &self.repositories {
            if let Err(message) = Pattern::parse(pattern, policy) {
                add("repositories", format!("`{}` {message}", pattern.escape_debug()));
            }
        }
        errors
    }

    /// Fills in what the job leaves open; the rules that it breaks, by field of the specification.
    ///
    /// `repo`: its repository's URL as it was understood under `policy`.
    pub fn apply(&self, spec: &mut JobSpec, repo: &str, policy: &RepoPolicy) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut add = |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
        if spec.class.is_none() {
            spec.class.clone_from(&self.class);
        }
        match &spec.class {
            Some(class) if !self.has_class(class) => {
                add("class", format!("the project's jobs may have only: {}", self.classes.join(", ")));
            }
            None if !self.classes.is_empty() => {
                add("class", format!("the project's jobs need one of: {}", self.classes.join(", ")));
            }
            _ => {}
        }
        if let Some(most) = self.max_run_seconds.map(u64::from)
            && spec.limits.run > most
        {
            if spec.limits.run == limits::RUN_DEFAULT {
                spec.limits.run = most;
            } else {
                add("limits.run", format!("at most {most} seconds in this project"));
            }
        }
        if !self.repositories.is_empty() && !self.repositories.iter().any(|pattern| covers(pattern, repo, policy)) {
            add("repo", "the project's jobs may not clone this repository".to_owned());
        }
        errors
    }

    fn has_class(&self, class: &str) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|known| known == class)
    }
}

fn covers(pattern: &str, repo: &str, policy: &RepoPolicy) -> bool {
    Pattern::parse(pattern, policy).is_ok_and(|pattern| pattern.covers(repo))
}

/// A repository, or all whose URL begins like this. Compared in the one form that URLs have when they are understood.
struct Pattern {
    text: String,
    open: bool,
}

impl Pattern {
    fn parse(pattern: &str, policy: &RepoPolicy) -> Result<Self, String> {
        // Stands for what the `*` stands for, so that the rest is read as the URL that it will be part of.
        const ANY: &str = "x";
        let read =
            |text: &str| RepoUrl::parse(text, policy).map(|url| url.to_string()).map_err(|error| error.to_string());
        let prefix = pattern.strip_suffix('*');
        if prefix.unwrap_or(pattern).contains('*') {
            return Err("may have a `*` only at its end".to_owned());
        }
        let Some(prefix) = prefix else {
            return Ok(Self { text: bare(&read(pattern)?).to_owned(), open: false });
        };
        let text = read(&format!("{prefix}{ANY}"))?;
        // Where reading takes the end away, nobody knows what the `*` would stand for.
        let text = text.strip_suffix(ANY).ok_or("needs a path that its `*` is the end of")?;
        Ok(Self { text: text.to_owned(), open: true })
    }

    fn covers(&self, repo: &str) -> bool {
        if !self.open {
            return bare(repo) == self.text;
        }
        // A host may read an escaped slash or dot as what it stands for, and leave the folder.
        let escapes = |rest: &str| ["%2f", "%2e", "%5c"].iter().any(|code| rest.to_ascii_lowercase().contains(code));
        repo.strip_prefix(&self.text).is_some_and(|rest| !rest.is_empty() && !escapes(rest))
    }
}

/// Hosts take a repository with and without this.
fn bare(repo: &str) -> &str {
    let repo = repo.trim_end_matches('/');
    repo.strip_suffix(".git").unwrap_or(repo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(repositories: &[&str]) -> ProjectSettings {
        let repositories = repositories.iter().map(|&pattern| pattern.to_owned()).collect();
        ProjectSettings { repositories, ..ProjectSettings::default() }
    }

    fn fields(errors: &[FieldError]) -> Vec<&str> {
        errors.iter().map(|error| error.field.as_str()).collect()
    }

    fn allows(pattern: &str, repo: &str) -> bool {
        let policy = RepoPolicy::public();
        let url = RepoUrl::parse(repo, &policy).unwrap().to_string();
        settings(&[pattern]).apply(&mut JobSpec::new(repo), &url, &policy).is_empty()
    }

    #[test]
    fn a_repository_is_one_of_those_that_are_named() {
        for (pattern, repo) in [
            ("https://git.example.com/team/app.git", "https://git.example.com/team/app"),
            ("https://git.example.com/team/app", "https://GIT.example.com/team/app.git"),
            ("https://git.example.com/team/*", "https://git.example.com/team/app.git"),
            ("https://git.example.com/team/app-*", "https://git.example.com/team/app-2"),
            ("https://git.example.com/*", "https://git.example.com/any/thing"),
            ("git@git.example.com:team/*", "ssh://git@git.example.com/team/app"),
        ] {
            assert!(allows(pattern, repo), "{pattern} {repo}");
        }
    }

    #[test]
    fn no_repository_slips_past_the_names() {
        for (pattern, repo) in [
            ("https://git.example.com/team/app", "https://git.example.com/team/app2"),
            ("https://git.example.com/team/*", "https://git.example.com/teams/app"),
            ("https://git.example.com/team/*", "https://git.example.com.evil.example/team/app"),
            ("https://git.example.com/team/*", "https://git.example.com/team/x/../../other/app"),
            ("https://git.example.com/team/*", "https://git.example.com/team/x/%2e%2e/%2e%2e/other/app"),
            ("https://git.example.com/team/*", "https://git.example.com/team/..%2Fother/app"),
            ("https://git.example.com/team/*", "ssh://git@git.example.com/team/app"),
            ("https://git.example.com/team/*", "https://git.example.com:8443/team/app"),
        ] {
            assert!(!allows(pattern, repo), "{pattern} {repo}");
        }
    }

    #[test]
    fn what_names_no_repositories_is_refused() {
        let policy = RepoPolicy::public();
        for pattern in
            ["", "*", "https://*", "https://git.example*", "https://git.example.com*", "https://*/team/app", "-x"]
        {
            assert_eq!(fields(&settings(&[pattern]).check(&policy)), ["settings.repositories"], "{pattern}");
        }
        assert_eq!(settings(&["https://git.example.com/*"]).check(&policy), []);
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let wrong = ProjectSettings {
            concurrency: Some(10_001),
            class: Some("large".into()),
            classes: vec!["small".into(), "not a name".into()],
            max_run_seconds: Some(0),
            repositories: vec![String::new(); 65],
        };
        let errors = wrong.check(&RepoPolicy::public());
        for field in ["concurrency", "class", "classes", "max_run_seconds", "repositories"] {
            assert!(fields(&errors).contains(&format!("settings.{field}").as_str()), "{field}: {errors:?}");
        }
    }

    #[test]
    fn a_class_is_filled_in_and_held_to_the_list() {
        let settings = ProjectSettings {
            class: Some("small".into()),
            classes: vec!["small".into(), "large".into()],
            ..ProjectSettings::default()
        };
        let policy = RepoPolicy::public();
        for (asked, made, broken) in
            [(None, "small", &[][..]), (Some("large"), "large", &[]), (Some("huge"), "huge", &["class"])]
        {
            let mut spec = JobSpec { class: asked.map(str::to_owned), ..JobSpec::new("https://e.example/a/b") };
            let errors = settings.apply(&mut spec, "https://e.example/a/b", &policy);
            assert_eq!((spec.class.as_deref(), fields(&errors).as_slice()), (Some(made), broken));
        }
        let none = ProjectSettings { class: None, ..settings };
        let errors = none.apply(&mut JobSpec::new("https://e.example/a/b"), "https://e.example/a/b", &policy);
        assert_eq!(fields(&errors), ["class"], "the runner's default may be any");
    }

    #[test]
    fn a_default_run_is_cut_and_a_longer_one_that_was_asked_for_is_refused() {
        let settings = ProjectSettings { max_run_seconds: Some(600), ..ProjectSettings::default() };
        let policy = RepoPolicy::public();
        for (asked, made, broken) in [(limits::RUN_DEFAULT, 600, &[][..]), (300, 300, &[]), (601, 601, &["limits.run"])]
        {
            let mut spec = JobSpec::new("https://e.example/a/b");
            spec.limits.run = asked;
            let errors = settings.apply(&mut spec, "https://e.example/a/b", &policy);
            assert_eq!((spec.limits.run, fields(&errors).as_slice()), (made, broken));
        }
    }
}
