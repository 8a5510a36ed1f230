//! Things that are made with a token, which is shown this one time: what `ckrv key` and `ckrv runner` have in common.

use serde::Serialize;

use ckrv_types::identity::{ApiKey, RunnerInfo, WithToken};

use crate::context::Context;
use crate::failure::Failure;
use crate::format::{Format, Show, View};

/// A thing with a token.
pub trait Tokened: Serialize {
    fn id(&self) -> String;
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
        context.printer.note(&format!("{}: the token is shown this one time", made.item.id()));
    }
    context.printer.show(made, format)
}
