//! The login by the browser of this machine (RFC 6749, section 4.1; RFC 8252).
//!
//! 1. Listen on a free port of loopback; only the browser of this machine can come back to it.
//! 2. Send the browser to the server, with a challenge to a secret that stays here (RFC 7636) and a random `state`.
//! 3. The browser comes back. Who does not know `state` is turned away and changes nothing: any page, and any program of this
//!    machine, can knock. The answer must name the server that was asked (RFC 9207).
//! 4. The code is exchanged, with the secret.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use url::{Host, Url};

use ckrv_client::oauth::{AuthorizationServer, CLIENT_ID, Tokens};
use ckrv_types::Secret;

use super::device::explain;
use crate::exit::ExitStatus;
use crate::failure::{Failure, OrFail as _};
use crate::printer::Printer;
use crate::sys;

const PATH: &str = "/callback";
/// As long as a code by which a person signs in lives.
const LIMIT: Duration = Duration::from_mins(10);
/// For one connection to say what it wants.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const LONGEST_REQUEST: usize = 16 * 1024;

/// What the browser brings back, each value once.
type Answer = BTreeMap<String, String>;

/// What must come back, and from whom.
struct Expected {
    state: String,
    issuer: String,
    names_issuer: bool,
}

pub async fn login(
    server: &AuthorizationServer,
    scope: &str,
    host: &str,
    browse: bool,
    printer: Printer,
) -> Result<Tokens, Failure> {
    let what = || "cannot listen for the browser on this machine".to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.or_fail(what)?;
    let redirect_uri = format!("http://{}{PATH}", listener.local_addr().or_fail(what)?);
    let (state, verifier) = (random(), Secret::new(random()));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose()));
    let mut url = server.authorization_endpoint()?.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", CLIENT_ID)
        .append_pair("redirect_uri", &redirect_uri)
        .append_pair("scope", scope)
        .append_pair("state", &state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256")
        .append_pair("host", host);
    printer.note(&format!("open {url}"));
    if browse {
        // The address stands there in any case.
        let _ = sys::open_in_browser(url.as_str());
    }
    printer.note("waiting for your browser to come back; Ctrl-C gives up");
    let expected =
        Expected { state, issuer: server.issuer().to_owned(), names_issuer: server.answers_name_the_issuer() };
    let answer = tokio::time::timeout(LIMIT, come_back(listener, expected)).await;
    let code = answer.map_err(|_| not_let_in(format!("your browser has not come back in {LIMIT:?}")))??;
    server.exchange_code(&code, &verifier, &redirect_uri).await.map_err(|error| explain(error, "the login"))
}

/// 256 bits; also a good verifier (RFC 7636, section 4.1).
fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Answers whoever knocks, until somebody brings the answer that is expected.
async fn come_back(listener: TcpListener, expected: Expected) -> Result<Secret, Failure> {
    // Browsers open connections in reserve, on which nothing is ever said: each is heard on its own.
    let (tell, mut told) = mpsc::channel(1);
    let expected = std::sync::Arc::new(expected);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // One that is gone again already is no reason to stop.
                let Ok((stream, _)) = accepted else { continue };
                let (tell, expected) = (tell.clone(), expected.clone());
                tokio::spawn(async move {
                    if let Ok(Some(outcome)) = tokio::time::timeout(REQUEST_LIMIT, hear(stream, &expected)).await {
                        // The first one counts.
                        let _ = tell.try_send(outcome);
                    }
                });
            }
            Some(outcome) = told.recv() => return outcome,
        }
    }
}

/// One connection. None: it was not the answer.
async fn hear(mut stream: TcpStream, expected: &Expected) -> Option<Result<Secret, Failure>> {
    let target = target(&mut stream).await;
    let outcome = target.as_deref().and_then(answer_in).and_then(|answer| judge(&answer, expected));
    let (status, words) = match &outcome {
        Some(Ok(_)) => ("200 OK", "You can close this page: ckrv goes on in your terminal."),
        Some(Err(_)) => ("200 OK", "You are not signed in: your terminal says why. You can close this page."),
        None => ("404 Not Found", "There is nothing here."),
    };
    // The browser may have gone away, which changes nothing.
    let _ = stream.write_all(page(status, words).as_bytes()).await;
    let _ = stream.shutdown().await;
    outcome
}

/// The target of a `GET`; anything else is none.
async fn target(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > LONGEST_REQUEST || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(head).ok()?;
    let mut words = text.lines().next()?.split(' ');
    (words.next()? == "GET").then_some(())?;
    Some(words.next()?.to_owned())
}

fn answer_in(target: &str) -> Option<Answer> {
    let base = Url::parse("http://127.0.0.1/").ok()?;
    let url = base.join(target).ok().filter(|url| url.host() == Some(Host::Ipv4(Ipv4Addr::LOCALHOST)))?;
    if url.path() != PATH {
        return None;
    }
    let mut answer = Answer::new();
    for (name, value) in url.query_pairs() {
        if answer.insert(name.into_owned(), value.into_owned()).is_some() {
            // RFC 6749, section 3.1: no parameter comes twice.
            return None;
        }
    }
    Some(answer)
}

/// None: it does not come from the one who was asked.
fn judge(answer: &Answer, expected: &Expected) -> Option<Result<Secret, Failure>> {
    if answer.get("state") != Some(&expected.state) {
        return None;
    }
    let issuer = answer.get("iss");
    if issuer.is_some_and(|issuer| *issuer != expected.issuer) || (issuer.is_none() && expected.names_issuer) {
        let text = format!("the answer that your browser brought is not from {}", expected.issuer);
        return Some(Err(not_let_in(text)));
    }
    Some(match (answer.get("code"), answer.get("error").map(String::as_str)) {
        (Some(code), None) => Ok(Secret::new(code)),
        (_, Some("access_denied")) => Err(not_let_in("the login was denied".to_owned())),
        (_, Some(error)) => {
            let why = answer.get("error_description").map(String::as_str).unwrap_or_default();
            Err(not_let_in(format!("{} answered `{error}` {why}", expected.issuer).trim_end().to_owned()))
        }
        (None, None) => Err(not_let_in("your browser brought no code".to_owned())),
    })
}

fn not_let_in(what: String) -> Failure {
    Failure::new(ExitStatus::NotLoggedIn, what).hint("`ckrv cloud login --web` tries again")
}

/// `words` are ours alone: nothing of the request is repeated.
fn page(status: &str, words: &str) -> String {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>ckrv</title><h1>ckrv</h1><p>{words}</p></html>\n"
    );
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\nx-content-type-options: nosniff\r\n\
         content-security-policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(names_issuer: bool) -> Expected {
        Expected { state: "s".into(), issuer: "https://a.example".into(), names_issuer }
    }

    fn judged(target: &str, names_issuer: bool) -> Option<Result<String, String>> {
        let outcome = judge(&answer_in(target)?, &expected(names_issuer))?;
        Some(match outcome {
            Ok(code) => Ok(code.expose().to_owned()),
            Err(Failure::Told(report)) => Err(report.what),
            Err(Failure::Unread) => panic!(),
        })
    }

    #[test]
    fn only_an_answer_with_the_state_counts() {
        for target in [
            "/callback?code=c",
            "/callback?code=c&state=x",
            "/callback?code=c&state=s&state=s",
            "/other?code=c&state=s",
            "//evil.example/callback?code=c&state=s",
            "/",
        ] {
            assert_eq!(judged(target, false), None, "{target}");
        }
        assert_eq!(judged("/callback?code=c&state=s", false), Some(Ok("c".into())));
    }

    #[test]
    fn an_answer_of_another_server_is_refused() {
        let good = "/callback?code=c&state=s&iss=https%3A%2F%2Fa.example";
        assert_eq!(judged(good, true), Some(Ok("c".into())));
        let other = "/callback?code=c&state=s&iss=https%3A%2F%2Fb.example";
        for (target, names_issuer) in [(other, true), (other, false), ("/callback?code=c&state=s", true)] {
            let Some(Err(what)) = judged(target, names_issuer) else { panic!("{target}") };
            assert!(what.contains("is not from https://a.example"), "{what}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_words() {
        assert_eq!(judged("/callback?error=access_denied&state=s", false), Some(Err("the login was denied".into())));
        let Some(Err(what)) = judged("/callback?error=invalid_scope&error_description=no&state=s", false) else {
            panic!()
        };
        assert_eq!(what, "https://a.example answered `invalid_scope` no");
        assert!(matches!(judged("/callback?state=s", false), Some(Err(_))));
    }

    async fn knock(address: std::net::SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn silent_and_wrong_visitors_do_not_keep_the_right_one_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = tokio::spawn(come_back(listener, expected(false)));
        let _silent = TcpStream::connect(address).await.unwrap();
        for wrong in [
            "GET /callback?code=evil&state=x HTTP/1.1\r\n\r\n",
            "POST /callback?code=evil&state=s HTTP/1.1\r\n\r\n",
            "GET /favicon.ico HTTP/1.1\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            let answer = knock(address, wrong).await;
            assert!(answer.starts_with("HTTP/1.1 404"), "{wrong}: {answer}");
        }
        let answer = knock(address, "GET /callback?code=c&state=s HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("default-src 'none'"), "{answer}");
        assert!(!answer.contains("code=c"), "{answer}");
        assert_eq!(waiting.await.unwrap().unwrap().expose(), "c");
    }
}
