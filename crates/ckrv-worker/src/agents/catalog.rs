//! `agents.yaml`: read, checked, and applied to a job.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use ckrv_types::JobSpec;
use ckrv_types::spec::is_name;
use serde::Deserialize;

use super::output::OutputFormat;

const EMBEDDED: &str = include_str!("../../../../worker/config/agents.yaml");
const PROMPT: &str = "{prompt}";
const COMMAND: &str = "{command}";
const TMPDIR: &str = "{tmpdir}";

/// The agents that this runner knows.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    agents: BTreeMap<String, Agent>,
}

/// One entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    argv: Vec<String>,
    #[serde(default)]
    prompt: PromptBy,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The container image where the job names none.
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default)]
    pub output: OutputFormat,
    /// Of its model; none: it needs no key.
    #[serde(default)]
    pub provider: Option<String>,
}

/// How the agent gets the job's prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PromptBy {
    /// Where an argument says `{prompt}`. The system limits an argument's length (Linux: 128 KiB).
    #[default]
    Argv,
    /// As its standard input.
    Stdin,
}

/// Why a catalog cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not a list of agents")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    #[error("{path}: agent `{name}`: {reason}")]
    Entry { path: PathBuf, name: String, reason: &'static str },
}

/// A job asks for an agent that is not in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this runner does not know the agent `{name}` (it knows: {known})")]
pub struct UnknownAgent {
    pub name: String,
    pub known: String,
}

impl Catalog {
    /// What is in `path`, or else ckrv's own list.
    pub fn load(path: Option<&Path>) -> Result<Self, CatalogError> {
        let Some(path) = path else { return Self::parse(EMBEDDED, Path::new("agents.yaml")) };
        let text =
            std::fs::read_to_string(path).map_err(|source| CatalogError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, CatalogError> {
        // `on` and `yes` are words, as in every YAML since 1.2.
        let options = serde_saphyr::options! { strict_booleans: true };
        let catalog: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|source| CatalogError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        for (name, agent) in &catalog.agents {
            let reason = if !is_name(name) {
                "a name of a-z 0-9 - is expected"
            } else if agent.argv.first().is_none_or(String::is_empty) {
                "`argv` needs a program"
            } else if agent.argv.iter().any(|argument| argument.contains(COMMAND) && argument != COMMAND) {
                "`{command}` must be an argument of its own"
            } else if agent.prompt == PromptBy::Stdin && agent.argv.iter().any(|argument| argument.contains(PROMPT)) {
                "with `prompt: stdin` no argument takes `{prompt}`"
            } else {
                continue;
            };
            return Err(CatalogError::Entry { path: path.to_owned(), name: name.clone(), reason });
        }
        Ok(catalog)
    }

    pub fn get(&self, name: &str) -> Result<&Agent, UnknownAgent> {
        self.agents.get(name).ok_or_else(|| UnknownAgent {
            name: name.to_owned(),
            known: self.agents.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }
}

impl Agent {
    /// Its variables, in an attempt whose folder for temporary files this is.
    pub fn env(&self, tmpdir: &str) -> impl Iterator<Item = (String, String)> {
        self.env.iter().map(move |(key, value)| (key.clone(), value.replace(TMPDIR, tmpdir)))
    }

    /// Program and arguments for this job. What the job brings is never searched for placeholders itself.
    pub fn argv(&self, spec: &JobSpec) -> Vec<String> {
        let prompt = spec.prompt.as_deref().unwrap_or_default();
        self.argv
            .iter()
            .flat_map(|argument| match argument.as_str() {
                COMMAND => spec.command.clone(),
                other => vec![other.replace(PROMPT, prompt)],
            })
            .collect()
    }

    /// What the agent finds on its standard input.
    pub fn stdin(&self, spec: &JobSpec) -> Option<String> {
        spec.prompt.clone().filter(|_| self.prompt == PromptBy::Stdin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Catalog, CatalogError> {
        Catalog::parse(text, Path::new("test.yaml"))
    }

    #[test]
    fn the_embedded_list_is_good_and_knows_command() {
        let catalog = Catalog::load(None).unwrap();
        let spec = JobSpec {
            command: vec!["make".into(), "{prompt}".into()],
            ..JobSpec::new("https://example.com/team/app.git")
        };
        assert_eq!(catalog.get("command").unwrap().argv(&spec), ["make", "{prompt}"]);
    }

    #[test]
    fn a_variable_may_name_the_attempts_own_tmpdir() {
        let catalog = parse("agents: {a: {argv: [tool], env: {B: '{tmpdir}/b', C: c}}}").unwrap();
        let env: BTreeMap<_, _> = catalog.get("a").unwrap().env("/work/tmp").collect();
        assert_eq!(
            env,
            [("B", "/work/tmp/b"), ("C", "c")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
        );
    }

    #[test]
    fn a_prompt_goes_where_the_entry_says_and_is_not_read_again() {
        let catalog = parse("agents: {a: {argv: [tool, '--do={prompt}', '{command}']}}").unwrap();
        let spec = JobSpec {
            prompt: Some("say {command} {prompt}".into()),
            command: vec!["-v".into()],
            ..JobSpec::new("https://example.com/team/app.git")
        };
        assert_eq!(catalog.get("a").unwrap().argv(&spec), ["tool", "--do=say {command} {prompt}", "-v"]);
    }

    #[test]
    fn a_prompt_may_be_the_standard_input() {
        let catalog = parse("agents: {a: {argv: [tool], prompt: stdin}, b: {argv: [tool, '{prompt}']}}").unwrap();
        let spec = JobSpec { prompt: Some("do it".into()), ..JobSpec::new("https://example.com/team/app.git") };
        let agent = catalog.get("a").unwrap();
        assert_eq!((agent.argv(&spec), agent.stdin(&spec)), (vec!["tool".to_owned()], Some("do it".to_owned())));
        assert_eq!(catalog.get("b").unwrap().stdin(&spec), None);
    }

    #[test]
    fn every_provider_in_the_embedded_list_has_a_proxy() {
        for agent in Catalog::load(None).unwrap().agents.values() {
            assert!(agent.provider.as_deref().is_none_or(|name| name.parse::<crate::proxy::Provider>().is_ok()));
        }
    }

    #[test]
    fn an_unknown_agent_is_told_with_the_known_ones() {
        let error = parse("agents: {a: {argv: [x]}, b: {argv: [y]}}").unwrap().get("c").unwrap_err();
        assert_eq!(error.to_string(), "this runner does not know the agent `c` (it knows: a, b)");
    }

    #[test]
    fn typos_and_half_entries_are_refused() {
        for text in [
            "agents: {a: {argv: []}}",
            "agents: {a: {argv: [x, 'y{command}']}}",
            "agents: {A: {argv: [x]}}",
            "agents: {a: {argv: [x, '{prompt}'], prompt: stdin}}",
            "agents: {a: {argv: [x], ouput: text}}",
            "agents: {a: {argv: [x], output: telepathy}}",
            "agent: {}",
        ] {
            assert!(parse(text).is_err(), "{text} was accepted");
        }
    }
}
