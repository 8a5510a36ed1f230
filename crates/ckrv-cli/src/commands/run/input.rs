//! The one word after `run`: a specification file or a prompt, and never a guess.

use std::path::{Path, PathBuf};

use super::args::Args;
use super::draft::Draft;
use super::spec_file;
use crate::context::read_stdin;
use crate::failure::Failure;

/// What the command line says, with the specification file below it.
pub fn read(args: &Args) -> Result<Draft, Failure> {
    let word = args.input.as_deref().map(read_word).transpose()?;
    let (file, word) = match word {
        Some(Word::File(file)) => (Some(file), None),
        Some(Word::Prompt(prompt)) => (None, Some(prompt)),
        None => (None, None),
    };
    let file = one_of("specification file", args.spec.clone(), file)?;
    let prompt = one_of("prompt", args.prompt.clone(), word)?;
    let prompt = match prompt.as_deref() {
        Some("-") => Some(read_stdin()?),
        _ => prompt,
    };
    let draft = Draft { prompt, ..args.draft() };
    match file {
        Some(file) => Ok(draft.over(spec_file::read(&file)?)),
        None => Ok(draft),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    File(PathBuf),
    Prompt(String),
}

/// - A file with a specification's name is one.
/// - A name like that without a file is a mistake, and so is another file's name: it could be meant as either.
/// - All else is a prompt.
fn read_word(word: &str) -> Result<Word, Failure> {
    let path = Path::new(word);
    let is_file = path.is_file();
    let like_spec = spec_file::has_spec_name(path) && !word.contains(char::is_whitespace);
    match (is_file, like_spec) {
        (true, true) => Ok(Word::File(path.to_owned())),
        (false, true) => Err(Failure::usage(format!("there is no file {word}"))
            .hint("if it is the prompt, say --prompt and then the text")),
        (true, false) => Err(Failure::usage(format!("`{word}` is a file, and could also be the prompt"))
            .hint(format!("say --spec '{word}' or --prompt '{word}'"))),
        (false, false) => Ok(Word::Prompt(word.to_owned())),
    }
}

fn one_of<T>(what: &str, flag: Option<T>, word: Option<T>) -> Result<Option<T>, Failure> {
    match (flag, word) {
        (Some(_), Some(_)) => Err(Failure::usage(format!("the {what} is given twice"))),
        (flag, word) => Ok(flag.or(word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_file_a_prompt_or_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("job.yaml"), "").unwrap();
        std::fs::write(at("notes"), "").unwrap();
        assert_eq!(read_word(&at("job.yaml")).unwrap(), Word::File(at("job.yaml").into()));
        assert!(read_word(&at("gone.yaml")).is_err());
        assert!(read_word(&at("notes")).is_err());
        for prompt in ["fix it", "fix", "", "explain README.md", "src"] {
            assert_eq!(read_word(prompt).unwrap(), Word::Prompt(prompt.into()));
        }
    }

    #[test]
    fn a_prompt_is_given_once() {
        let args = Args { input: Some("a b".into()), prompt: Some("c".into()), ..Args::default() };
        assert!(read(&args).is_err());
        let args = Args { input: Some("a b".into()), ..Args::default() };
        assert_eq!(read(&args).unwrap().prompt.as_deref(), Some("a b"));
    }
}
