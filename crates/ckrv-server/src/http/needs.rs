//! What a route needs, told into the OpenAPI document by the handler's own signature: its `security`, and of a user's routes
//! the scope, as `x-ckrv-scope`.
//!
//! Nothing else declares it, so that the document, and the tests that are made of it, cannot say another thing than the
//! extractors do. Whoever writes an extractor says what it needs ([`Extracted`]); one that says nothing does not compile.

use axum::extract::{RawQuery, State};
use axum::handler::Handler;
use axum::http::{HeaderMap, Method, Uri};
use ckrv_types::identity::Scope;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::UtoipaMethodRouter;

use super::extract::{Body, Json, Path, Query};
use crate::auth::{BootstrapAuth, Caller, Permission, RunnerAuth, WorkerAuth};
use crate::state::AppState;

/// The extension by which the document tells the scope that a route needs.
pub const SCOPE: &str = "x-ckrv-scope";

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Anybody.
    Nothing,
    /// A person's program or an API key, with this scope.
    User(Scope),
    Runner,
    Worker,
}

/// What an extractor needs of who asks.
pub trait Extracted {
    const NEED: Need = Need::Nothing;
}

impl<P: Permission> Extracted for Caller<P> {
    const NEED: Need = Need::User(P::SCOPE);
}

impl Extracted for RunnerAuth {
    const NEED: Need = Need::Runner;
}

impl Extracted for WorkerAuth {
    const NEED: Need = Need::Worker;
}

impl Extracted for BootstrapAuth {
    const NEED: Need = Need::Worker;
}

impl<T> Extracted for State<T> {}
impl<T> Extracted for Json<T> {}
impl<T> Extracted for Path<T> {}
impl<T> Extracted for Query<T> {}
impl Extracted for Body {}
impl Extracted for HeaderMap {}
impl Extracted for Method {}
impl Extracted for RawQuery {}
impl Extracted for Uri {}

/// The arguments of a handler, as axum tells handlers apart: a marker, then one type an argument.
pub trait Arguments {
    const NEED: Need;
}

macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<M, $($argument: Extracted),*> Arguments for (M, $($argument,)*) {
            const NEED: Need = first(&[$($argument::NEED),*]);
        }
    };
}

arguments!();
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);
arguments!(A B C D E F G);

const fn first(needs: &[Need]) -> Need {
    match needs {
        [] => Need::Nothing,
        [Need::Nothing, rest @ ..] => first(rest),
        [need, ..] => *need,
    }
}

/// What this handler needs.
pub fn of<H: Handler<T, AppState>, T: Arguments>(_: &H) -> Need {
    T::NEED
}

/// The routes of one handler, which now say what it needs.
pub fn told(mut routes: UtoipaMethodRouter<AppState>, need: Need) -> UtoipaMethodRouter<AppState> {
    routes.1.paths.values_mut().flat_map(operations).for_each(|operation| tell(operation, need));
    routes
}

/// Handlers of one path.
pub fn joined(
    (mut schemas, mut paths, router): UtoipaMethodRouter<AppState>,
    (more_schemas, more_paths, more): UtoipaMethodRouter<AppState>,
) -> UtoipaMethodRouter<AppState> {
    schemas.extend(more_schemas);
    paths.merge(more_paths);
    (schemas, paths, router.merge(more))
}

fn tell(operation: &mut Operation, need: Need) {
    let scheme = match need {
        Need::Nothing => None,
        Need::User(_) => Some("user"),
        Need::Runner => Some("runner"),
        Need::Worker => Some("worker"),
    };
    let requirement =
        scheme.map_or_else(SecurityRequirement::default, |name| SecurityRequirement::new(name, Vec::<String>::new()));
    operation.security = Some(vec![requirement]);
    if let Need::User(scope) = need {
        let extensions = operation.extensions.get_or_insert_default();
        extensions.merge(Extensions::from_iter([(SCOPE, scope.as_str())]));
    }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, head, .. } = item;
    [get, put, post, delete, patch, head].into_iter().flatten()
}

/// As `utoipa_axum::routes!`, for handlers of one path, which besides say what they need.
macro_rules! routes {
    ($handler:path $(, $more:path)* $(,)?) => {{
        let routes = $crate::http::needs::told(utoipa_axum::routes!($handler), $crate::http::needs::of(&$handler));
        $(
            let more = $crate::http::needs::told(utoipa_axum::routes!($more), $crate::http::needs::of(&$more));
            let routes = $crate::http::needs::joined(routes, more);
        )*
        routes
    }};
}
pub(crate) use routes;
