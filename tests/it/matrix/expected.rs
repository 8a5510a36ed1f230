//! What a stranger is to be answered, from what the contract says of a route alone.

use ckrv_types::ProblemCode;
use ckrv_types::identity::{Role, Scope};

use super::answers::Answer;
use super::asks::{About, Ask};
use super::contract::{Need, Operation};
use super::strangers::{Kind, Standing, Stranger};
use super::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// As anybody.
    Public,
    /// It is no credential.
    Unauthenticated,
    /// It is one, and not for this.
    Forbidden,
    /// There is no such organization.
    NoOrg,
    /// The same as of what does not exist.
    NotThere,
    /// Something, in which nothing is of our organization.
    NothingOfOurs,
    /// Something, in which nothing is of the other project.
    NothingOfTheProject,
    /// What was asked for.
    Allowed,
}

/// None: the stranger may do this where they belong, so nothing is learned.
pub fn expected(operation: &Operation, ask: &Ask, stranger: &Stranger) -> Option<Expected> {
    let wanted = match operation.need {
        Need::Nothing => return Some(Expected::Public),
        Need::User(scope) => {
            return if stranger.kind == Kind::User {
                by_user(operation, ask, stranger, scope)
            } else {
                Some(Expected::Unauthenticated)
            };
        }
        Need::Runner => Kind::Runner,
        Need::Worker => ask.worker,
    };
    match &stranger.standing {
        _ if stranger.kind != wanted => Some(Expected::Unauthenticated),
        Standing::Dead => Some(Expected::Unauthenticated),
        Standing::Theirs | Standing::Ours { .. } if ask.names_anything() => Some(Expected::NotThere),
        Standing::Theirs if operation.is_safe() => Some(Expected::NothingOfOurs),
        Standing::Ours { .. } if operation.is_safe() => Some(Expected::NothingOfTheProject),
        // Its token says what it speaks of, and that is its own.
        Standing::Theirs | Standing::Ours { .. } => None,
        Standing::NoOrg | Standing::Limited => unreachable!("only users are"),
    }
}

fn by_user(operation: &Operation, ask: &Ask, stranger: &Stranger, scope: Scope) -> Option<Expected> {
    match &stranger.standing {
        Standing::Dead => Some(Expected::Unauthenticated),
        Standing::NoOrg => Some(Expected::NoOrg),
        Standing::Theirs => match ask.about {
            About::Asker if operation.is_safe() => Some(Expected::NothingOfOurs),
            About::Asker if ask.by_person && stranger.is_key() => Some(Expected::Forbidden),
            About::Asker => None,
            About::Project | About::Organization => Some(Expected::NotThere),
        },
        Standing::Limited => match ask.about {
            About::Project => Some(Expected::NotThere),
            About::Organization => Some(Expected::Forbidden),
            About::Asker if operation.is_safe() => Some(Expected::NothingOfTheProject),
            // A key that is limited to projects manages nothing.
            About::Asker if scope == Scope::Manage || ask.managed.is_some() || ask.by_person => {
                Some(Expected::Forbidden)
            }
            About::Asker => None,
        },
        Standing::Ours { role, scopes } => {
            if !scopes.contains(&scope) || (ask.takes_an_owner && *role != Role::Owner) {
                return Some(Expected::Forbidden);
            }
            if ask.by_person && (stranger.is_key() || stranger.narrowed) {
                return Some(Expected::Forbidden);
            }
            let concerns_others = stranger.is_key() || (ask.about != About::Asker && !ask.or_own_by_login);
            if ask.managed.is_some() && concerns_others && !scopes.contains(&Scope::Manage) {
                return ask.managed;
            }
            operation.is_safe().then_some(Expected::Allowed)
        }
    }
}

impl Expected {
    /// What is wrong with this answer. `nobodys`: what was answered of what does not exist.
    pub fn fault(self, world: &World, ask: &Ask, answer: &Answer, nobodys: Option<&Answer>) -> Option<String> {
        if answer.status >= 500 {
            return Some("it is a fault of the server".to_owned());
        }
        let problem = answer.problem();
        let code = problem.as_ref().map(|problem| problem.code);
        match self {
            Self::Public if matches!(answer.status, 401 | 403 | 404) && problem.is_some() => {
                Some("anybody may come in".to_owned())
            }
            Self::Unauthenticated if code != Some(ProblemCode::Unauthenticated) => {
                Some("it should be no credential".to_owned())
            }
            Self::Forbidden if code != Some(ProblemCode::Forbidden) => Some("it should be forbidden".to_owned()),
            Self::NoOrg if code != Some(ProblemCode::NotFound) => {
                Some("there should be no such organization".to_owned())
            }
            Self::NotThere => not_there(world, ask, answer, nobodys?),
            Self::NothingOfOurs => world
                .markers
                .iter()
                .find(|marker| answer.body.contains(*marker))
                .map(|marker| format!("`{marker}` is ours")),
            Self::NothingOfTheProject => world
                .project_markers
                .iter()
                .find(|marker| answer.body.contains(*marker))
                .map(|marker| format!("`{marker}` is of the other project")),
            Self::Allowed if !ask.is_good(answer) => Some("it should be allowed".to_owned()),
            _ => None,
        }
    }
}

fn not_there(world: &World, ask: &Ask, answer: &Answer, nobodys: &Answer) -> Option<String> {
    let (ours, imagined) = (answer.essence(&world.ours), nobodys.essence(&world.nobodys));
    if ours != imagined {
        return Some(format!("of what does not exist it is {imagined}"));
    }
    (ask.names_in_path() && answer.status != 404).then(|| "it should not be there".to_owned())
}
