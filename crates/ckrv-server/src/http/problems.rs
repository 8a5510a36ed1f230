//! The problems that routes document, as reusable OpenAPI responses.
//!
//! A handler names the groups that fit it, such as `responses((status = 200, body = Job), Authenticated, NotFound)`.
//! What any route may answer is added to all of them by `openapi`.

use std::collections::BTreeMap;

use ckrv_types::Problem;
use ckrv_types::problem::MEDIA_TYPE;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema as _, ToSchema as _};

macro_rules! problems {
    ($($name:ident = $status:literal, $description:literal;)+) => {
        /// Every reusable response with its component's name.
        pub(super) fn components() -> Vec<(&'static str, Response)> {
            vec![$((stringify!($name), response($description)),)+]
        }

        $(
            #[doc = concat!("`", $status, "`: ", $description)]
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    BTreeMap::from([($status.to_owned(), Ref::from_response_name(stringify!($name)).into())])
                }
            }
        )+
    };
}

macro_rules! groups {
    ($($(#[$doc:meta])* $name:ident = [$($member:ident),+];)+) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    let mut all = BTreeMap::new();
                    $(all.extend($member::responses());)+
                    all
                }
            }
        )+
    };
}

problems! {
    BadRequest = "400", "The request cannot be read: its syntax, a header, or a query parameter is wrong.";
    Unauthenticated = "401", "No valid credential: missing, mistyped, expired or revoked.";
    Forbidden = "403", "The credential is good and does not reach this.";
    NotFound = "404", "There is no such thing, or it belongs to another organization.";
    NotAcceptable = "406", "None of the accepted media types can be had; `detail` lists those that can.";
    Conflict = "409", "In conflict with the present state; `code` says which.";
    Gone = "410", "Over, or no longer kept; `code` says which.";
    TooLarge = "413", "The body is over its limit.";
    UnsupportedMediaType = "415", "The body's media type is not the one that this route takes.";
    Invalid = "422", "The request reads well and breaks a rule; `errors` names the fields.";
    RateLimited = "429", "Too many requests; `Retry-After` says when to come back.";
    HeadersTooLarge = "431", "The request's line and headers are over their limit.";
    Internal = "500", "A fault on the server's side; it is in its log under the request's id.";
    Unavailable = "503", "A part that the server needs is away for the moment.";
}

groups! {
    /// Routes that want a credential.
    Authenticated = [Unauthenticated, Forbidden];
    /// Routes that read a JSON body.
    JsonBody = [BadRequest, TooLarge, UnsupportedMediaType, Invalid];
    /// Added to every route.
    Everywhere = [RateLimited, HeadersTooLarge, Internal, Unavailable];
}

fn response(description: &str) -> Response {
    ResponseBuilder::new()
        .description(description)
        .content(MEDIA_TYPE, Content::new(Some(Ref::from_schema_name(Problem::name()))))
        .build()
}

/// The schemas that the responses refer to.
pub(super) fn schemas() -> Vec<(String, RefOr<utoipa::openapi::schema::Schema>)> {
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    schemas
}
