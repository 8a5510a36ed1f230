//! What people see in a browser: sign in, let a program in, look after what was let in. HTML made on the server, without a
//! script.
//!
//! A page's handler takes a [`session::Session`], or is for anybody; a form's takes a [`form::SessionForm`] or a
//! [`form::BrowserForm`], which is only there if the form came from a page of ours: no handler can forget to look. Errors are
//! what they are everywhere, problems; [`frame`] makes pages of them, and sees to every page's headers.
//!
//! Knows of OAuth only what a person is asked and decides.

mod account;
mod agent;
mod assets;
mod authorize;
mod consent;
mod cookies;
mod csrf;
mod device;
mod failures;
mod form;
mod frame;
mod invitations;
mod password;
mod providers;
mod return_to;
pub mod session;
mod sign_in;
mod signed_out;
mod visitor;
mod ways_in;
mod words;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::Redirect;
use axum::routing::{get, post};
use ckrv_types::limits;

pub use frame::surround;
pub use visitor::Visitor;

use crate::state::AppState;

/// The routes of all pages; in no OpenAPI document.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(async || Redirect::to(return_to::HOME)))
        .route("/login", get(sign_in::show).post(sign_in::sign_in))
        .route("/login/{provider}", get(providers::begin))
        .route("/login/{provider}/callback", get(providers::finish))
        .route("/logout", post(signed_out::sign_out))
        .route("/device", get(device::show).post(device::look_up))
        .route("/device/decide", post(device::decide))
        .route("/oauth/authorize", get(authorize::show))
        .route("/oauth/authorize/decide", post(authorize::decide))
        .route("/invitations/{token}", get(invitations::show).post(invitations::accept))
        .route("/account", get(account::show))
        .route("/account/org", post(account::choose_org))
        .route("/account/password", get(password::show).post(password::change))
        .route("/account/identities/{provider}/link", get(ways_in::link))
        .route("/account/identities/unlink", post(ways_in::unlink))
        .route("/account/sessions/{id}/revoke", post(account::revoke_session))
        .route("/account/logins/{id}/revoke", post(account::revoke_login))
        .route("/assets/{name}", get(assets::serve))
        .layer(DefaultBodyLimit::max(limits::FORM_BYTES))
}
