//! Links to the object store, which are a credential of their own: no stranger is given one, and one that is given is good for
//! one object and a minute.

use ckrv_tests::replica::Loops;
use reqwest::redirect::Policy;
use url::Url;

use super::strangers::Kind;
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_an_artifact_is_given_to_no_stranger_and_good_for_one_object_and_a_minute() {
    let world = World::new().await;
    let endpoint = world.on.s3().endpoint().to_owned();
    let replica = world.on.another_replica_with(Loops::Off, &["--s3-public-endpoint", &endpoint]).await;
    let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let path = world.ours.fill("/v1/jobs/<job that is over>/artifacts/files/quagga.txt");
    let url = replica.url().join(&path).unwrap();
    for stranger in world.strangers.iter().filter(|stranger| stranger.kind != Kind::User || !stranger.may_read()) {
        let mut request = http.get(url.clone());
        if let Some(token) = &stranger.token {
            request = request.bearer_auth(token);
        }
        if let Some(org) = &stranger.org {
            request = request.header(ckrv_types::identity::ORG_HEADER, org);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(matches!(status, 401 | 403 | 404), "{} is answered {status}", stranger.name);
        assert!(answer.headers().get("location").is_none(), "{} is given a link", stranger.name);
    }

    let answer = http.get(url).bearer_auth(world.on.keys().api_key.expose()).send().await.unwrap();
    let link: Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
    let life = link.query_pairs().find(|(name, _)| name == "X-Amz-Expires").expect("a link says how long it is good").1;
    assert!(life.parse::<u32>().unwrap() <= 60, "{life} s");
    let get = async |link: &Url| http.get(link.clone()).send().await.unwrap();
    assert_eq!(get(&link).await.text().await.unwrap(), "a quagga in a file");

    let archived = world.ours.get("job that is archived");
    let elsewhere = link.as_str().replace(world.ours.get("job that is over"), archived);
    let longer = link.as_str().replace(&format!("X-Amz-Expires={life}"), "X-Amz-Expires=6000");
    let earlier = link.as_str().replace("X-Amz-Date=20", "X-Amz-Date=19");
    for altered in [elsewhere, longer, earlier] {
        assert_ne!(altered, link.as_str());
        let status = get(&altered.parse().unwrap()).await.status().as_u16();
        assert!(status == 403 || status == 400, "{altered}: {status}");
    }
    assert!(!http.put(link).body("x").send().await.unwrap().status().is_success(), "it is for reading");
}
