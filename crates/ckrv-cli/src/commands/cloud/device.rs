//! The login by a code (RFC 8628), as people see it.

use ckrv_client::oauth::{AuthorizationServer, OAuthError, Tokens};

use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::sys;

pub async fn login(
    server: &AuthorizationServer,
    scope: &str,
    host: &str,
    browse: bool,
    printer: Printer,
) -> Result<Tokens, Failure> {
    let request = server.ask_by_device(scope, host).await?;
    printer.note(&format!("open    {}\nconfirm {}", request.verification_uri, request.user_code));
    if browse {
        let url = request.verification_uri_complete.as_ref().unwrap_or(&request.verification_uri);
        // The address stands there in any case.
        let _ = sys::open_in_browser(url.as_str());
    }
    printer.note("waiting for you to confirm the code; Ctrl-C gives up");
    server.wait_for_device(&request).await.map_err(|error| explain(error, "the code"))
}

/// What became of the request, in words.
pub fn explain(error: OAuthError, what: &str) -> Failure {
    let (text, hint) = match error.code() {
        Some("access_denied") => ("the login was denied".to_owned(), "`ckrv cloud login` asks again"),
        Some("expired_token") => {
            (format!("{what} has expired before anybody confirmed it"), "`ckrv cloud login` makes a new one")
        }
        Some("invalid_grant") => (format!("{what} is not good any more"), "`ckrv cloud login` makes a new one"),
        _ => return error.into(),
    };
    Failure::new(ExitStatus::NotLoggedIn, text).hint(hint)
}
