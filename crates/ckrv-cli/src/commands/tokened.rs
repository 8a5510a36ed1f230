//! Things that are made with a token, which is shown this one time: API keys, runners, invitations.

use serde::Serialize;

use ckrv_types::identity::{ApiKey, Invitation, RunnerInfo, WithToken};

use crate::context::Context;
use crate::duration::moment;
use crate::failure::Failure;
use crate::format::{Format, Show, View};

/// A thing with a token.
pub trait Tokened: Serialize {
    fn id(&self) -> String;

    /// What is said with the token.
    fn told(&self) -> String {
        format!("{}: the token is shown this one time", self.id())
    }
}

impl Tokened for ApiKey {
    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Tokened for RunnerInfo {
    fn id(&self) -> String {
        self.id.to_string()
    }
}

impl Tokened for Invitation {
    fn id(&self) -> String {
        self.id.to_string()
    }

    fn told(&self) -> String {
        let Self { id, role, expires_at, .. } = self;
        format!(
            "{id}: the link is shown this one time. The first person who takes it until {} becomes {role}: send it to \
             nobody else",
            moment(*expires_at)
        )
    }
}

impl<T: Tokened> Show for WithToken<T> {
    fn table(&self, _view: View) -> String {
        self.token.clone()
    }

    fn names(&self) -> Vec<String> {
        vec![self.item.id()]
    }
}

/// The token alone on stdout, so that it can be piped to where it is kept; or the whole as JSON or YAML.
pub fn show_made<T: Tokened>(context: &Context, made: &WithToken<T>) -> Result<(), Failure> {
    let format = context.format();
    if format == Format::Table {
        context.printer.note(&made.item.told());
    }
    context.printer.show(made, format)
}
