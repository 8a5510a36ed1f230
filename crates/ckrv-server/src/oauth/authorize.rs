//! The authorization code (RFC 6749, section 4.1), always with PKCE: a program on the same machine as the browser, which is
//! answered on loopback.

use ckrv_types::identity::Scope;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::clients::{self, Client};
use super::device::HOST_CHARS;
use super::errors::{Code, Refusal};
use super::form::Params;
use super::{Decider, pkce, scopes};
use crate::auth::tokens;
use crate::db::audit::{self, Actor, Entry};
use crate::db::authorization_codes::{self, NewAuthorizationCode};
use crate::error::ApiResult;
use crate::state::AppState;
use crate::text;

/// The only kind of answer (RFC 6749, section 3.1.1).
pub(super) const RESPONSE_TYPE: &str = "code";
/// Seconds that the program has to redeem its code.
const LIFE_SECONDS: u32 = 60;

/// The request as the browser brings it, also as hidden fields of the page: RFC 6749 section 4.1.1, RFC 7636 section 4.3, and
/// `host`, as with devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizeQuery {
    pub response_type: Option<String>,
    pub client_id: Option<String>,
    pub redirect_uri: Option<String>,
    pub scope: Option<String>,
    pub state: Option<String>,
    pub code_challenge: Option<String>,
    pub code_challenge_method: Option<String>,
    pub host: Option<String>,
}

/// A request that is in order.
#[derive(Debug, Clone)]
pub struct AuthorizeRequest {
    pub client_name: &'static str,
    pub scopes: Vec<Scope>,
    /// As the program told; may be empty.
    pub host: String,
    client: &'static str,
    challenge: String,
    answer: Answer,
}

/// Where the answer goes.
#[derive(Debug, Clone)]
struct Answer {
    redirect_uri: Url,
    /// The same, letter for letter.
    asked: String,
    state: Option<String>,
    issuer: String,
}

/// What becomes of a request that is not in order.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthorizeError {
    /// To be told to the person: it is not certain whose program asks, so the browser is sent nowhere.
    Page(String),
    /// To be told to the program, by sending the browser there.
    Redirect(Url),
}

impl AuthorizeQuery {
    /// Reads a query, or a form of the same. One with a parameter in it twice is not in order.
    pub fn parse(encoded: &str) -> Result<Self, AuthorizeError> {
        let params = Params::parse(encoded.as_bytes())
            .map_err(|refusal| AuthorizeError::Page(refusal.description.to_owned()))?;
        let get = |name| params.get(name).map(str::to_owned);
        Ok(Self {
            response_type: get("response_type"),
            client_id: get("client_id"),
            redirect_uri: get("redirect_uri"),
            scope: get("scope"),
            state: get("state"),
            code_challenge: get("code_challenge"),
            code_challenge_method: get("code_challenge_method"),
            host: get("host"),
        })
    }
}

impl AuthorizeRequest {
    /// The origin that the browser will be sent to, for the page's policy on forms.
    pub fn redirect_origin(&self) -> String {
        self.answer.redirect_uri.origin().ascii_serialization()
    }
}

/// Checks a request, first of all where its answer may go.
pub fn check(issuer: &str, query: &AuthorizeQuery) -> Result<AuthorizeRequest, AuthorizeError> {
    let page = |words: &str| AuthorizeError::Page(words.to_owned());
    let client = given(query.client_id.as_ref()).and_then(clients::find);
    let client = client.ok_or_else(|| page("The program that sent you here is not known."))?;
    let asked = given(query.redirect_uri.as_ref()).filter(|uri| client.redirects_to(uri));
    let parsed = asked.and_then(|asked| Some((asked.to_owned(), Url::parse(asked).ok()?)));
    let (asked, redirect_uri) =
        parsed.ok_or_else(|| page("The program that sent you here wants its answer where it must not go."))?;
    let state = given(query.state.as_ref()).map(str::to_owned);
    let answer = Answer { redirect_uri, asked, state, issuer: issuer.to_owned() };
    check_rest(query, client, answer.clone()).map_err(|refusal| AuthorizeError::Redirect(answer.refused(refusal)))
}

fn check_rest(query: &AuthorizeQuery, client: &'static Client, answer: Answer) -> Result<AuthorizeRequest, Refusal> {
    match given(query.response_type.as_ref()) {
        Some(RESPONSE_TYPE) => {}
        Some(_) => return Err(Refusal::new(Code::UnsupportedResponseType, "response_type must be code.")),
        None => return Err(Refusal::request("response_type is missing.")),
    }
    let challenge = given(query.code_challenge.as_ref()).ok_or(Refusal::request("code_challenge is missing."))?;
    if given(query.code_challenge_method.as_ref()) != Some(pkce::METHOD) {
        return Err(Refusal::request("code_challenge_method must be S256."));
    }
    if !pkce::is_challenge(challenge) {
        return Err(Refusal::request("code_challenge is not the base64url of a SHA-256."));
    }
    Ok(AuthorizeRequest {
        client_name: client.name,
        scopes: scopes::requested(given(query.scope.as_ref()))?,
        host: text::visible(given(query.host.as_ref()).unwrap_or_default(), HOST_CHARS),
        client: client.id,
        challenge: challenge.to_owned(),
        answer,
    })
}

/// An empty parameter is as good as none.
fn given(parameter: Option<&String>) -> Option<&str> {
    parameter.map(String::as_str).filter(|value| !value.is_empty())
}

impl Answer {
    /// RFC 6749 section 4.1.2.1, RFC 9207.
    fn refused(&self, refusal: Refusal) -> Url {
        self.with(&[("error", refusal.code.as_str()), ("error_description", refusal.description)])
    }

    fn with(&self, members: &[(&str, &str)]) -> Url {
        let mut url = self.redirect_uri.clone();
        let mut query = url.query_pairs_mut();
        query.extend_pairs(members);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", &self.issuer);
        drop(query);
        url
    }
}

/// Lets the program in, or turns it away. Answers where to send the browser.
///
/// # Errors
/// `not_found` if the person is no member of the organization.
pub async fn decide(state: &AppState, by: &Decider, request: &AuthorizeRequest, approve: bool) -> ApiResult<Url> {
    let mut tx = state.db.system().await?;
    by.check(&mut tx).await?;
    let code = hex::encode(rand::random::<[u8; 32]>());
    if approve {
        let new = NewAuthorizationCode {
            code_hash: tokens::hash(&code),
            client: request.client,
            redirect_uri: &request.answer.asked,
            challenge: &request.challenge,
            scopes: &request.scopes,
            user: by.user,
            org: by.org,
            host: &request.host,
            address: &by.address,
        };
        authorization_codes::insert(&mut tx, &new, LIFE_SECONDS).await?;
    }
    let entry = Entry {
        org: Some(by.org),
        actor: Actor::User(by.user),
        action: if approve { "code.approved" } else { "code.denied" },
        subject: None,
        address: Some(&by.address),
        detail: json!({
            "client": request.client,
            "scopes": scopes::text(&request.scopes),
            "host": request.host,
        }),
    };
    audit::write(&mut tx, &entry).await?;
    tx.commit().await?;
    Ok(if approve {
        request.answer.with(&[("code", &code)])
    } else {
        request.answer.refused(Refusal::new(Code::AccessDenied, "The person has refused."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://ckrv.example.com";
    const GOOD: &str = "response_type=code&client_id=ckrv-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback\
        &state=a%20b%26c&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

    fn checked(query: &str) -> Result<AuthorizeRequest, AuthorizeError> {
        check(ISSUER, &AuthorizeQuery::parse(query)?)
    }

    #[test]
    fn a_request_in_order_says_what_is_asked_for() {
        let request = checked(&format!("{GOOD}&host=laptop%0A&unknown=1")).unwrap();
        assert_eq!((request.scopes.len(), request.host.as_str()), (3, "laptop"));
        assert_eq!(request.redirect_origin(), "http://127.0.0.1:4711");
    }

    #[test]
    fn where_the_answer_would_go_is_in_doubt_nobody_is_sent_anywhere() {
        for wrong in [
            String::new(),
            GOOD.replace("ckrv-cli", "other"),
            GOOD.replace("client_id", "x"),
            GOOD.replace("127.0.0.1", "evil.example"),
            GOOD.replace("redirect_uri", "x"),
            format!("{GOOD}&client_id=ckrv-cli"),
        ] {
            assert!(matches!(checked(&wrong), Err(AuthorizeError::Page(_))), "{wrong}");
        }
    }

    #[test]
    fn what_else_is_wrong_is_told_to_the_program_with_its_state_and_our_name() {
        for (wrong, error) in [
            (GOOD.replace("=code&", "=token&"), "unsupported_response_type"),
            (GOOD.replace("response_type=code&", ""), "invalid_request"),
            (GOOD.replace("S256", "plain"), "invalid_request"),
            (GOOD.replace("&code_challenge_method=S256", ""), "invalid_request"),
            (GOOD.replace("E9Melhoa2", "short"), "invalid_request"),
            (GOOD.replace("code_challenge=", "x="), "invalid_request"),
            (format!("{GOOD}&scope=admin"), "invalid_scope"),
        ] {
            let Err(AuthorizeError::Redirect(url)) = checked(&wrong) else { panic!("{wrong} was not redirected") };
            let told: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
            assert_eq!(told["error"], error, "{wrong}");
            assert_eq!((told["state"].as_str(), told["iss"].as_str()), ("a b&c", ISSUER));
            assert_eq!(url.port(), Some(4711));
        }
    }
}
