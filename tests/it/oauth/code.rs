//! RFC 6749, section 4.1, and RFC 7636: the authorization code, and what it is exchanged for.

use futures::future::join_all;

use super::*;

#[tokio::test]
async fn a_code_and_its_verifier_are_exchanged_for_tokens() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let answer = authority.exchange(&authority.code(&pkce).await, &pkce.verifier).await.good();
    assert_eq!((answer.text("token_type"), &answer.body["expires_in"]), ("Bearer", &600.into()));
    assert_eq!(answer.text("scope"), "read run manage");
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    let tokens = answer.tokens();
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    authority.refresh(&tokens.refresh).await.good();
}

#[tokio::test]
async fn an_authorization_response_names_its_state_and_its_issuer() {
    let authority = Authority::start().await;
    let back = authority.agree(&Pkce::new()).await;
    assert_eq!(back[..url::Position::AfterPath].to_owned(), REDIRECT);
    assert_eq!(parameter(&back, "state").as_deref(), Some("of the client"));
    // RFC 9207, section 2.
    assert_eq!(parameter(&back, "iss"), Some(authority.issuer()));
    assert_eq!(back.fragment(), None);
}

#[tokio::test]
async fn a_code_has_at_least_128_random_bits() {
    let authority = Authority::start().await;
    let (one, other) = (authority.code(&Pkce::new()).await, authority.code(&Pkce::new()).await);
    assert!(one != other && one.len() >= 22, "{one}");
}

#[tokio::test]
async fn a_denial_goes_back_to_the_client_and_names_the_issuer_too() {
    let authority = Authority::start().await;
    let request = authority.authorize_url(&Pkce::new().request());
    let back = people::consents(&mut authority.browser().await, &request, "deny").await;
    assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(parameter(&back, "state").as_deref(), Some("of the client"));
    assert_eq!(parameter(&back, "iss"), Some(authority.issuer()));
    assert_eq!(parameter(&back, "code"), None);
    assert_eq!(authority.value("select count(*) from authorization_codes").await, "0");
}

#[tokio::test]
async fn a_code_that_comes_twice_revokes_what_it_gave() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    let tokens = authority.exchange(&code, &pkce.verifier).await.tokens();
    let tokens = authority.refresh(&tokens.refresh).await.tokens();
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
    authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
    authority.is_shut_out(&tokens.access).await;
    assert_eq!(authority.value("select revoked_for from logins").await, "code-reuse");
}

#[tokio::test]
async fn a_code_that_comes_again_much_later_still_revokes() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    let tokens = authority.exchange(&code, &pkce.verifier).await.tokens();
    authority.time_passes("1 hour").await;
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
    authority.refresh(&tokens.refresh).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn a_stranger_who_saw_a_code_revokes_nothing_with_it() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    let tokens = authority.exchange(&code, &pkce.verifier).await.tokens();
    authority.exchange(&code, &Pkce::new().verifier).await.is_refused("invalid_grant");
    let form = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT)];
    let foreign = [&form[..], &[("code_verifier", &pkce.verifier), ("client_id", "somebody")]].concat();
    let answer = authority.post("/oauth/token", &foreign).await;
    assert!(matches!(answer.text("error"), "invalid_client" | "invalid_grant"), "{answer:?}");
    assert_eq!(authority.knocks(&tokens.access).await, 200);
    authority.refresh(&tokens.refresh).await.good();
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_own_verifier() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let form = [("grant_type", "authorization_code"), ("redirect_uri", REDIRECT)];
    let code = authority.code(&pkce).await;
    // The challenge is what an onlooker has seen.
    for wrong in [Pkce::new().verifier.as_str(), &pkce.challenge, &pkce.verifier.to_lowercase()] {
        authority.exchange(&code, wrong).await.is_refused("invalid_grant");
    }
    let without = authority.token(&[&form[..], &[("code", &code)]].concat()).await;
    assert!(matches!(without.text("error"), "invalid_grant" | "invalid_request"), "{without:?}");
    assert_eq!(authority.value("select count(*) from logins").await, "0");
}

#[tokio::test]
async fn a_code_is_worth_nothing_with_another_redirect_uri() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let form = [("grant_type", "authorization_code"), ("code_verifier", &pkce.verifier)];
    for other in [Some("http://127.0.0.1:51005/callback"), Some("http://[::1]:51004/callback"), None] {
        let code = authority.code(&pkce).await;
        let redirect: Vec<_> = other.map(|uri| ("redirect_uri", uri)).into_iter().collect();
        let answer = authority.token(&[&form[..], &[("code", &code)], &redirect].concat()).await;
        assert!(matches!(answer.text("error"), "invalid_grant" | "invalid_request"), "{answer:?}");
    }
    assert_eq!(authority.value("select count(*) from logins").await, "0");
}

#[tokio::test]
async fn a_code_lives_for_ten_minutes_at_most() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    authority.time_passes("601 seconds").await;
    authority.exchange(&code, &pkce.verifier).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn parallel_exchanges_of_a_code_give_one_set_of_tokens_at_most() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let code = authority.code(&pkce).await;
    let answers = join_all((0..6).map(|_| authority.exchange(&code, &pkce.verifier))).await;
    let given = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(given, 1, "{answers:?}");
    assert_eq!(authority.value("select count(*) from logins").await, "1");
}

#[tokio::test]
async fn a_code_that_nobody_was_given_is_no_grant() {
    let authority = Authority::start().await;
    authority.exchange(&"ab".repeat(32), &Pkce::new().verifier).await.is_refused("invalid_grant");
}

#[tokio::test]
async fn a_code_gives_the_scopes_that_were_agreed_to() {
    let authority = Authority::start().await;
    let pkce = Pkce::new();
    let request = authority.authorize_url(&[&pkce.request()[..], &[("scope", "read")]].concat());
    let back = people::authorize(&mut authority.browser().await, &request).await;
    let code = parameter(&back, "code").unwrap();
    assert_eq!(authority.exchange(&code, &pkce.verifier).await.good().text("scope"), "read");
}
