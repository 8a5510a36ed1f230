//! The crate `oauth2`, by an HTTP client of ours, since its own is of another time.

use oauth2::basic::{BasicClient, BasicErrorResponseType};
use oauth2::{
    ClientId, DeviceAuthorizationUrl, HttpRequest, HttpResponse, RefreshToken, RequestTokenError, RevocationUrl, Scope,
    StandardDeviceAuthorizationResponse, TokenResponse as _, TokenUrl,
};

use crate::login::Host;

async fn send(request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let mut request = reqwest::Request::try_from(request)?;
    // The crate revokes by https alone; whatever ends TLS in front of a server speaks plain HTTP with it.
    request.url_mut().set_scheme("http").expect("http follows https");
    let response = reqwest::Client::new().execute(request).await?;
    let mut answer = oauth2::http::Response::builder().status(response.status());
    for (name, value) in response.headers() {
        answer = answer.header(name, value);
    }
    let body = response.bytes().await?.to_vec();
    Ok(answer.body(body).expect("what was received can be passed on"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oauth2_crate_is_let_in_by_device_refreshes_and_revokes() {
    let mut host = Host::start().await;
    let issuer = host.issuer();
    let at = |path: &str| format!("{issuer}{path}");
    let client = BasicClient::new(ClientId::new("ckrv-cli".to_owned()))
        .set_device_authorization_url(
            DeviceAuthorizationUrl::new(at("/oauth/device_authorization")).expect("an address"),
        )
        .set_token_uri(TokenUrl::new(at("/oauth/token")).expect("an address"))
        .set_revocation_url(RevocationUrl::new(at("/oauth/revoke").replace("http:", "https:")).expect("an address"));

    let ask = client.exchange_device_code().add_scope(Scope::new("read".to_owned()));
    let asked: StandardDeviceAuthorizationResponse = ask.request_async(&send).await.expect("codes are given");
    let poll = client.exchange_device_access_token(&asked).request_async(&send, tokio::time::sleep, None);
    let (given, ()) = tokio::join!(poll, host.decides("approve", asked.user_code().secret()));
    let first = given.expect("tokens are given");
    assert_eq!(first.scopes(), Some(&vec![Scope::new("read".to_owned())]));

    let of = |token: &oauth2::basic::BasicTokenResponse| -> RefreshToken {
        token.refresh_token().expect("there is one").clone()
    };
    let second = client.exchange_refresh_token(&of(&first)).request_async(&send).await.expect("it is good");
    assert_ne!(of(&second).secret(), of(&first).secret());
    let whoami = reqwest::Client::new().get(at("/v1/whoami")).bearer_auth(second.access_token().secret());
    assert_eq!(whoami.send().await.expect("the server answers").status(), 200);

    let revoke = client.revoke_token(of(&second).into()).expect("the address is good");
    revoke.request_async(&send).await.expect("it is revoked");
    match client.exchange_refresh_token(&of(&second)).request_async(&send).await {
        Err(RequestTokenError::ServerResponse(error)) => {
            assert_eq!(error.error(), &BasicErrorResponseType::InvalidGrant);
        }
        other => panic!("after it was revoked: {other:?}"),
    }
    host.has_seen_off(1).await;
}
