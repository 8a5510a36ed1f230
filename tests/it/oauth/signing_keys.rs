//! RFC 7517 and the rotation of keys: a new one is published before it signs, an old one until its last token is dead.

use super::*;

const WITHIN: Duration = Duration::from_secs(90);

async fn published(authority: &Authority, replica: &Replica) -> Vec<String> {
    let keys = Answer::of(authority.http.get(replica.url().join("/oauth/jwks.json").unwrap())).await.good();
    let keys = keys.body["keys"].as_array().unwrap().clone();
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// What a replica signs with.
async fn signs_with(authority: &Authority, replica: &Replica, refresh_token: &mut String) -> (String, String) {
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str()), ("client_id", CLIENT)];
    let request = authority.http.post(replica.url().join("/oauth/token").unwrap()).form(&form);
    let tokens = Answer::of(request).await.tokens();
    *refresh_token = tokens.refresh;
    (part(&tokens.access, 0)["kid"].as_str().unwrap().to_owned(), tokens.access)
}

#[tokio::test]
async fn the_published_keys_are_public_and_say_what_they_are_for() {
    let authority = Authority::start().await;
    let token = authority.login().await.access;
    let answer = Answer::of(authority.http.get(authority.url("/oauth/jwks.json"))).await.good();
    let key = &answer.body["keys"][0];
    for (member, value) in [("kty", "OKP"), ("crv", "Ed25519"), ("use", "sig"), ("alg", "EdDSA")] {
        assert_eq!(key[member], value, "{key}");
    }
    assert_eq!(key["kid"], part(&token, 0)["kid"]);
    assert_eq!(URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap().len(), 32);
    assert!(key.get("d").is_none(), "the private key is published");
}

#[tokio::test]
async fn a_new_key_is_published_before_it_signs_and_an_old_ones_tokens_stay_good() {
    let authority = Authority::start().await;
    let Tokens { access: old_token, refresh: mut login } = authority.login().await;
    let old = part(&old_token, 0)["kid"].as_str().unwrap().to_owned();

    authority.sql("update signing_keys set signs_from = signs_from - interval '30 days'").await;
    let leader = authority.another_replica(Loops::On, &[]).await;
    let number = "select count(*) from signing_keys";
    wait_for("a new key is made", WITHIN, async || (authority.value(number).await == "2").then_some(())).await;
    let replica = authority.another_replica(Loops::Off, &[]).await;
    let both = published(&authority, &replica).await;
    let new = both.iter().find(|key| **key != old).expect("the new key is published").clone();
    assert!(both.contains(&old));
    assert_eq!(signs_with(&authority, &replica, &mut login).await.0, old, "it signs before all know it");
    drop(leader);

    authority.sql("update signing_keys set signs_from = signs_from - interval '11 minutes'").await;
    let replica = authority.another_replica(Loops::Off, &[]).await;
    let (signs, new_token) = signs_with(&authority, &replica, &mut login).await;
    assert_eq!(signs, new);
    for token in [&old_token, &new_token] {
        assert_eq!(knocks_at(&replica, token).await, 200);
    }
    // One that read the list before there was a new key.
    wait_for("the first replica knows the new key", WITHIN, async || {
        (authority.knocks(&new_token).await == 200).then_some(())
    })
    .await;

    authority.sql("update signing_keys set signs_from = signs_from - interval '2 hours'").await;
    let _leader = authority.another_replica(Loops::On, &[]).await;
    wait_for("the old key is forgotten", WITHIN, async || (authority.value(number).await == "1").then_some(())).await;
    let replica = authority.another_replica(Loops::Off, &[]).await;
    assert_eq!(published(&authority, &replica).await, [new]);
}

#[tokio::test]
async fn all_replicas_sign_with_one_key_from_the_first_request_on() {
    let authority = Authority::start().await;
    let other = authority.another_replica(Loops::Off, &[]).await;
    let (one, two) = tokio::join!(published(&authority, &authority.on.replica), published(&authority, &other));
    assert_eq!((&one, one.len()), (&two, 1));
}

#[tokio::test]
async fn private_keys_are_encrypted_at_rest() {
    let authority = Authority::start().await;
    authority.login().await;
    // RFC 8410: how a private Ed25519 key in PKCS #8 begins, whatever the key.
    let plain = "select count(*) from signing_keys where position('\\x06032b6570'::bytea in sealed_key) > 0";
    assert_eq!(authority.value(plain).await, "0");
    assert_eq!(authority.value("select count(*) from signing_keys").await, "1");
}
