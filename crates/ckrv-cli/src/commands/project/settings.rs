//! What can be said of a project's settings, laid over those that it has.

use clap::ValueEnum;

use ckrv_types::identity::ProjectSettings;

use crate::failure::Failure;
use crate::{duration, env};

#[derive(Debug, Default, clap::Args)]
#[group(required = true, multiple = true)]
pub struct SettingsArgs {
    /// The most of its jobs at once, within the organization's own limit
    #[arg(long, env = env::PROJECT_CONCURRENCY, value_name = "N")]
    concurrency: Option<u32>,
    /// The class of jobs that name none
    #[arg(long, env = env::PROJECT_CLASS, value_name = "NAME")]
    class: Option<String>,
    /// The only classes that its jobs may have, in the place of those before; may be repeated
    #[arg(long, env = env::PROJECT_ALLOW_CLASS, value_name = "NAME", value_delimiter = ',')]
    allow_class: Vec<String>,
    /// The longest run of a job
    #[arg(long, env = env::PROJECT_MAX_RUN, value_name = "TIME", value_parser = seconds)]
    max_run: Option<u32>,
    /// The only repositories that its jobs may clone, in the place of those before; a `*` at the end stands for anything; may be
    /// repeated
    #[arg(long, env = env::PROJECT_REPOSITORY, value_name = "URL")]
    repository: Vec<String>,
    /// Have no such setting any more; may be repeated
    #[arg(long, env = env::PROJECT_UNSET, value_enum, value_name = "SETTING", value_delimiter = ',')]
    unset: Vec<Setting>,
}

/// By the names of their flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Setting {
    Concurrency,
    Class,
    AllowClass,
    MaxRun,
    Repository,
}

fn seconds(text: &str) -> Result<u32, String> {
    duration::parse_seconds(text)?.try_into().map_err(|_| format!("`{text}` is too long"))
}

impl SettingsArgs {
    /// The settings that a project with `before` has from now on.
    pub fn over(self, before: ProjectSettings) -> Result<ProjectSettings, Failure> {
        let mut settings = before;
        for setting in &self.unset {
            let said = match setting {
                Setting::Concurrency => self.concurrency.is_some(),
                Setting::Class => self.class.is_some(),
                Setting::AllowClass => !self.allow_class.is_empty(),
                Setting::MaxRun => self.max_run.is_some(),
                Setting::Repository => !self.repository.is_empty(),
            };
            if said {
                let name = setting.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
                return Err(Failure::usage(format!("--{name} and --unset {name} say different things")));
            }
            match setting {
                Setting::Concurrency => settings.concurrency = None,
                Setting::Class => settings.class = None,
                Setting::AllowClass => settings.classes.clear(),
                Setting::MaxRun => settings.max_run_seconds = None,
                Setting::Repository => settings.repositories.clear(),
            }
        }
        settings.concurrency = self.concurrency.or(settings.concurrency);
        settings.class = self.class.or(settings.class);
        settings.max_run_seconds = self.max_run.or(settings.max_run_seconds);
        if !self.allow_class.is_empty() {
            settings.classes = self.allow_class;
        }
        if !self.repository.is_empty() {
            settings.repositories = self.repository;
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before() -> ProjectSettings {
        ProjectSettings {
            concurrency: Some(2),
            class: Some("small".into()),
            classes: vec!["small".into(), "large".into()],
            max_run_seconds: Some(60),
            repositories: vec!["https://a.example/*".into()],
        }
    }

    #[test]
    fn what_is_not_named_stays() {
        let args = SettingsArgs { max_run: Some(120), ..SettingsArgs::default() };
        assert_eq!(args.over(before()).unwrap(), ProjectSettings { max_run_seconds: Some(120), ..before() });
    }

    #[test]
    fn lists_are_replaced_and_settings_can_be_had_no_more() {
        let args = SettingsArgs {
            allow_class: vec!["large".into()],
            unset: vec![Setting::Class, Setting::Repository, Setting::Concurrency],
            ..SettingsArgs::default()
        };
        let expected =
            ProjectSettings { classes: vec!["large".into()], max_run_seconds: Some(60), ..ProjectSettings::default() };
        assert_eq!(args.over(before()).unwrap(), expected);
    }

    #[test]
    fn a_setting_cannot_be_made_and_unmade_at_once() {
        let args = SettingsArgs { class: Some("x".into()), unset: vec![Setting::Class], ..SettingsArgs::default() };
        let Err(Failure::Told(report)) = args.over(before()) else { panic!() };
        assert!(report.what.contains("--unset class"), "{}", report.what);
    }
}
