//! While the database is away, nobody is told anything about a grant: neither that it is pending nor that it is none.

use ckrv_tests::relay::Relay;
use ckrv_types::Secret;

use super::*;

/// A replica whose way to the database can be barred.
async fn replica_with_a_long_way(authority: &Authority) -> (Replica, Relay) {
    let urls = authority.on.urls();
    let database: Url = urls.app.expose().parse().unwrap();
    let addresses = database.socket_addrs(|| Some(5432)).unwrap();
    let relay = Relay::start([127, 0, 0, 1].into(), addresses[0]).await;
    let by_relay = |url: &Secret| {
        let mut url: Url = url.expose().parse().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(relay.address().port())).unwrap();
        url.to_string()
    };
    let (app, system) = (by_relay(&urls.app), by_relay(&urls.system));
    let arguments = ["--database-url", app.as_str(), "--system-database-url", system.as_str()];
    let replica = authority.another_replica(Loops::Off, &arguments).await;
    (replica, relay)
}

#[tokio::test]
async fn an_outage_of_the_database_is_503_and_never_pending() {
    let authority = Authority::start().await;
    let (pending, approved) = (authority.device().await, authority.device().await);
    let login = authority.login().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    authority.approve(&mut authority.browser().await, &approved).await;
    let (replica, relay) = replica_with_a_long_way(&authority).await;
    let requests: [(&str, Vec<(&str, &str)>); 6] = [
        ("/oauth/token", vec![("grant_type", DEVICE_GRANT), ("device_code", &pending.code)]),
        ("/oauth/token", vec![("grant_type", DEVICE_GRANT), ("device_code", &approved.code)]),
        ("/oauth/token", vec![("grant_type", "refresh_token"), ("refresh_token", &login.refresh)]),
        (
            "/oauth/token",
            vec![
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", &pkce.verifier),
            ],
        ),
        ("/oauth/device_authorization", vec![]),
        ("/oauth/revoke", vec![("token", &login.refresh)]),
    ];
    relay.bar();
    let asked = requests.map(async |(path, form)| {
        let form = [&form[..], &[("client_id", CLIENT)]].concat();
        let answer = Answer::of(authority.http.post(replica.url().join(path).unwrap()).form(&form)).await;
        assert_eq!(answer.status, 503, "{path} {form:?}: {answer:?}");
        assert_eq!(answer.text("error"), "temporarily_unavailable", "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "when to ask again: {answer:?}");
    });
    futures::future::join_all(asked).await;

    // Nothing was used up.
    relay.open();
    let post = async |form: &[(&str, &str)]| {
        let form = [form, &[("client_id", CLIENT)]].concat();
        Answer::of(authority.http.post(replica.url().join("/oauth/token").unwrap()).form(&form)).await
    };
    let first = [("grant_type", DEVICE_GRANT), ("device_code", pending.code.as_str())];
    post(&first).await.is_refused("authorization_pending");
    post(&[("grant_type", DEVICE_GRANT), ("device_code", &approved.code)]).await.good();
    authority.refresh(&login.refresh).await.good();
    authority.exchange(&code, &pkce.verifier).await.good();
}

#[tokio::test]
async fn an_access_token_is_not_called_bad_because_the_database_is_away() {
    let authority = Authority::start().await;
    let token = authority.login().await.access;
    let (replica, relay) = replica_with_a_long_way(&authority).await;
    relay.bar();
    assert_eq!(knocks_at(&replica, &token).await, 503);
    relay.open();
    assert_eq!(knocks_at(&replica, &token).await, 200);
}
