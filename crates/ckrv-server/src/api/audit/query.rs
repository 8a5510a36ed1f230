//! Which entries are asked for, and in which form.

use ckrv_types::{AuditId, KeyId, RunnerId, UserId, limits};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::IntoParams;

use crate::api::{cursor, wrong_parameter};
use crate::db::audit::Actor;
use crate::db::audit_entries::Filter;
use crate::error::{ApiError, ApiResult};

/// Longest action or subject that there is.
const NAME_CHARS: usize = 100;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Acts from this time on (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-21T12:00:00Z")]
    since: Option<OffsetDateTime>,
    /// Acts before this time (RFC 3339).
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<OffsetDateTime>,
    /// One action, such as `key.created`; with nothing behind the dot, all of that noun: `key.`.
    #[param(pattern = r"^[a-z-]+\.[a-z-]*$", max_length = 100, example = "key.created")]
    action: Option<String>,
    /// What one user, key or runner did, by its id; or `system` or `anonymous`.
    #[param(example = "system")]
    actor: Option<String>,
    /// What was done to this, by its id.
    #[param(pattern = "^[!-~]+$", max_length = 100)]
    subject: Option<String>,
    /// Of pages. From the page before: its `next`.
    cursor: Option<String>,
    /// Of pages.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// Of NDJSON. Begin behind this entry.
    after: Option<AuditId>,
}

#[derive(Debug)]
pub struct Request {
    pub filter: Filter,
    pub wanted: Wanted,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    Page { before: Option<AuditId>, limit: u32 },
    Export { after: Option<AuditId> },
}

impl Request {
    pub fn new(query: AuditQuery, lines: bool) -> ApiResult<Self> {
        let wanted = if lines { export(&query)? } else { page(&query)? };
        let AuditQuery { since, until, action, actor, subject, .. } = query;
        if action.as_deref().is_some_and(|action| !is_action(action)) {
            return Err(wrong_parameter("action", "`noun.verb` or `noun.` is expected".to_owned()));
        }
        if subject.as_deref().is_some_and(|subject| !is_subject(subject)) {
            return Err(wrong_parameter("subject", "an id is expected".to_owned()));
        }
        let actor = actor.map(|text| read_actor(&text).ok_or_else(unknown_actor)).transpose()?;
        Ok(Self { filter: Filter { since, until, action, actor, subject, org: None }, wanted })
    }
}

fn page(query: &AuditQuery) -> ApiResult<Wanted> {
    if query.after.is_some() {
        return Err(wrong_parameter(
            "after",
            "it is for `Accept: application/x-ndjson`; pages have `cursor`".to_owned(),
        ));
    }
    let limit = query.limit.unwrap_or(limits::PAGE_DEFAULT);
    if !(1..=limits::PAGE_MAX).contains(&limit) {
        return Err(wrong_parameter("limit", format!("1 to {}", limits::PAGE_MAX)));
    }
    let before = query.cursor.as_deref().map(|text| {
        let id = cursor::read(text).map(AuditId::from_uuid);
        id.ok_or_else(|| wrong_parameter("cursor", "not a cursor".to_owned()))
    });
    Ok(Wanted::Page { before: before.transpose()?, limit })
}

fn export(query: &AuditQuery) -> ApiResult<Wanted> {
    for (name, given) in [("cursor", query.cursor.is_some()), ("limit", query.limit.is_some())] {
        if given {
            return Err(wrong_parameter(name, "it is for pages; NDJSON is resumed by `after`".to_owned()));
        }
    }
    Ok(Wanted::Export { after: query.after })
}

fn is_action(text: &str) -> bool {
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    text.len() <= NAME_CHARS
        && text.split_once('.').is_some_and(|(noun, verb)| !noun.is_empty() && is_word(noun) && is_word(verb))
}

fn is_subject(text: &str) -> bool {
    (1..=NAME_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read_actor(text: &str) -> Option<Actor> {
    match text {
        "system" => Some(Actor::System),
        "anonymous" => Some(Actor::Anonymous),
        _ => {
            let user = text.parse::<UserId>().ok().map(Actor::User);
            let key = || text.parse::<KeyId>().ok().map(Actor::Key);
            let runner = || text.parse::<RunnerId>().ok().map(Actor::Runner);
            user.or_else(key).or_else(runner)
        }
    }
}

fn unknown_actor() -> ApiError {
    let expected = "the id of a user, a key or a runner, `system` or `anonymous` is expected";
    wrong_parameter("actor", expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: AuditQuery, lines: bool) -> Result<Request, String> {
        Request::new(query, lines).map_err(|error| match error {
            ApiError::Problem(problem) => problem.errors[0].field.clone(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let text = |text: &str| Some(text.to_owned());
        for (query, field) in [
            (AuditQuery { action: text("key"), ..AuditQuery::default() }, "action"),
            (AuditQuery { action: text(".created"), ..AuditQuery::default() }, "action"),
            (AuditQuery { action: text("key.%"), ..AuditQuery::default() }, "action"),
            (AuditQuery { actor: text("job-1"), ..AuditQuery::default() }, "actor"),
            (AuditQuery { subject: text("a\0b"), ..AuditQuery::default() }, "subject"),
            (AuditQuery { cursor: text("x"), ..AuditQuery::default() }, "cursor"),
            (AuditQuery { limit: Some(0), ..AuditQuery::default() }, "limit"),
            (AuditQuery { after: Some(AuditId::new()), ..AuditQuery::default() }, "after"),
        ] {
            assert_eq!(asked(query, false).unwrap_err(), field);
        }
        for (query, field) in [
            (AuditQuery { cursor: text(""), ..AuditQuery::default() }, "cursor"),
            (AuditQuery { limit: Some(1), ..AuditQuery::default() }, "limit"),
        ] {
            assert_eq!(asked(query, true).unwrap_err(), field);
        }
    }

    #[test]
    fn an_actor_is_an_id_or_one_of_two_words() {
        let (user, key, runner) = (UserId::new(), KeyId::new(), RunnerId::new());
        for (text, actor) in [
            (user.to_string(), Actor::User(user)),
            (key.to_string(), Actor::Key(key)),
            (runner.to_string(), Actor::Runner(runner)),
            ("system".to_owned(), Actor::System),
            ("anonymous".to_owned(), Actor::Anonymous),
        ] {
            assert_eq!(read_actor(&text), Some(actor));
        }
    }
}
