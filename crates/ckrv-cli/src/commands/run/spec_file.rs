//! A specification in a file: YAML, or Markdown whose front matter is the YAML and whose body is the prompt.

use std::path::Path;

use super::draft::Draft;
use crate::failure::{Failure, OrFail as _};

/// Whether a file of this name is a specification.
pub fn has_spec_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    matches!(extension.to_ascii_lowercase().as_str(), "yaml" | "yml" | "md" | "markdown")
}

/// Reads a specification file.
pub fn read(path: &Path) -> Result<Draft, Failure> {
    let text = std::fs::read_to_string(path)
        .or_fail(|| format!("cannot read {}", path.display()))
        .map_err(|failure| failure.hint("a specification is a YAML or Markdown file"))?;
    let is_markdown =
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("md") || e.eq_ignore_ascii_case("markdown"));
    let draft = if is_markdown { from_markdown(&text) } else { from_yaml(&text) };
    draft.map_err(|why| Failure::usage(format!("{} is not a job's specification", path.display())).cause(why))
}

fn from_yaml(text: &str) -> Result<Draft, String> {
    // YAML 1.1's `on` and `no` would turn an environment variable's value into a boolean.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

fn from_markdown(text: &str) -> Result<Draft, String> {
    let text = text.replace("\r\n", "\n");
    let (matter, body) = match text.strip_prefix("---\n") {
        None => ("", text.as_str()),
        Some(rest) => split_matter(rest).ok_or("the front matter begins with `---` and does not end with one")?,
    };
    let mut draft = if matter.trim().is_empty() { Draft::default() } else { from_yaml(matter)? };
    let body = body.trim();
    match (&draft.prompt, body.is_empty()) {
        (Some(_), false) => return Err("the prompt is given twice: as `prompt:` and as the text below".into()),
        (None, false) => draft.prompt = Some(body.to_owned()),
        (_, true) => {}
    }
    Ok(draft)
}

/// What stands before and after the line `---`.
fn split_matter(rest: &str) -> Option<(&str, &str)> {
    if let Some(body) = rest.strip_prefix("---\n") {
        return Some(("", body));
    }
    match rest.split_once("\n---\n") {
        Some((matter, body)) => Some((matter, body)),
        None => rest.strip_suffix("\n---").map(|matter| (matter, "")),
    }
}

#[cfg(test)]
mod tests {
    use ckrv_types::JobSpec;
    use ckrv_types::spec::Limits;

    use super::*;

    #[test]
    fn every_field_of_a_specification_can_be_said_in_a_file() {
        let map = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let spec = JobSpec {
            branch: Some("main".into()),
            agent: "codex".into(),
            prompt: Some("do\nit".into()),
            command: vec!["a".into(), "b c".into()],
            image: Some("i".into()),
            class: Some("c".into()),
            env: map("A", "on"),
            secrets: vec!["s".into()],
            artifacts: vec!["*.log".into()],
            limits: Limits { queue: 1, start: 2, run: 3, idle: 4, grace: 5 },
            retries: ckrv_types::spec::Retries { max_attempts: 2, oom: true },
            budget_usd: Some(1.5),
            labels: map("team", "web"),
            priority: -3,
            ..JobSpec::new("https://a.example/b")
        };
        let yaml = serde_saphyr::to_string(&spec).unwrap();
        assert_eq!(from_yaml(&yaml).unwrap().into_spec(), spec, "{yaml}");
    }

    #[test]
    fn values_are_read_as_they_were_meant() {
        let draft =
            from_yaml("branch: '1.0'\nenv:\n  FLAG: on\n  PORT: 8080\nlimits:\n  run: 15m\n  idle: 90\n").unwrap();
        assert_eq!(draft.env["FLAG"], "on");
        assert_eq!(draft.env["PORT"], "8080");
        assert_eq!((draft.limits.run, draft.limits.idle), (Some(900), Some(90)));
    }

    #[test]
    fn a_typo_or_a_repeated_key_is_an_error_that_names_it() {
        for (text, word) in [
            ("promt: x", "promt"),
            ("limits: {rum: 3}", "rum"),
            ("repo: a\nrepo: b", "repo"),
            ("limits: {run: fast}", "fast"),
        ] {
            let error = from_yaml(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_markdown_files_body_is_the_prompt() {
        let draft = from_markdown("---\nagent: codex\n---\n\n# Fix\r\n\nit\n---\nall\n").unwrap();
        assert_eq!(draft.agent.as_deref(), Some("codex"));
        assert_eq!(draft.prompt.as_deref(), Some("# Fix\n\nit\n---\nall"));
        assert_eq!(from_markdown("just do it\n").unwrap().prompt.as_deref(), Some("just do it"));
        assert_eq!(from_markdown("---\nprompt: p\n---").unwrap().prompt.as_deref(), Some("p"));
        assert_eq!(from_markdown("---\n---\nx").unwrap().prompt.as_deref(), Some("x"));
    }

    #[test]
    fn two_prompts_or_an_open_front_matter_are_refused() {
        assert!(from_markdown("---\nprompt: a\n---\nb").unwrap_err().contains("twice"));
        assert!(from_markdown("---\nprompt: a\n").unwrap_err().contains("does not end"));
    }
}
