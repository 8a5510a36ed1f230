//! OAuth clients that know nothing of ckrv are let in, refresh, and give back what they had. What they cannot do themselves,
//! they ask for by a line: a person with a browser does it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ckrv_tests::browser::Browser;
use ckrv_tests::people;
use ckrv_tests::replica::{Installation, Loops};
use ckrv_tests::wait::wait_for;
use ckrv_types::identity::Role;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use url::Url;

use crate::tools;

/// A client polls each five seconds, and more slowly when it is told to.
const POLL: Duration = Duration::from_secs(30);
const WHOLE: Duration = Duration::from_mins(5);

/// A server, and a person who has signed in.
pub struct Host {
    pub on: Installation,
    browser: Browser,
}

impl Host {
    pub async fn start() -> Self {
        let on = Installation::new(Loops::Off).await;
        people::add(&mut on.sql().await, on.keys().org, "ada", Role::Owner).await;
        let browser = people::sign_in(&on.replica.url(), "ada").await;
        Self { on, browser }
    }

    pub fn issuer(&self) -> String {
        self.on.state().config.issuer()
    }

    /// Decides, after the client has been told at least once that nobody has.
    pub async fn decides(&mut self, decision: &str, code: &str) {
        wait_for("the client polls", POLL, async || {
            let newest = "select polled_at is not null from device_codes order by created_at desc limit 1";
            let polled: bool =
                sqlx::query_scalar(newest).fetch_one(&mut self.on.sql().await).await.expect("a device asked");
            polled.then_some(())
        })
        .await;
        let url = self.on.replica.url();
        match decision {
            "approve" => people::approve(&mut self.browser, &url, code).await,
            _ => people::deny(&mut self.browser, &url, code).await,
        }
    }

    /// Opens an authorization request, agrees, and goes where that leads.
    async fn opens(&mut self, request: &str) {
        let request: Url = request.parse().expect("an address");
        let back = people::authorize(&mut self.browser, &request).await;
        reqwest::get(back).await.expect("the client listens");
    }

    /// Runs a judge to its end, and does what it asks for.
    async fn serves(&mut self, mut judge: Command) {
        judge.arg(self.issuer()).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut judge = judge.spawn().expect("the judge starts");
        let mut lines = BufReader::new(judge.stdout.take().expect("it is piped")).lines();
        let served = async {
            while let Some(line) = lines.next_line().await.expect("the judge can be read") {
                match line.split_once(' ').expect("a wish and what for") {
                    ("open", url) => self.opens(url).await,
                    (decision, code) => self.decides(decision, code).await,
                }
            }
            judge.wait().await.expect("it is our child")
        };
        let status = tokio::time::timeout(WHOLE, served).await.expect("it ends in time");
        assert!(status.success(), "{status}: what it said is above");
    }

    /// So many logins were given, and all of them given back.
    pub async fn has_seen_off(&self, logins: i64) {
        let query = "select count(*), count(*) filter (where revoked_for = 'client') from logins";
        let seen: (i64, i64) =
            sqlx::query_as(query).fetch_one(&mut self.on.sql().await).await.expect("the database answers");
        assert_eq!(seen, (logins, logins));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openid_client_is_let_in_by_device_and_by_code_refreshes_and_revokes() {
    let mut host = Host::start().await;
    let mut judge = Command::new("node");
    judge.arg("login.mjs").current_dir(tools::node());
    host.serves(judge).await;
    host.has_seen_off(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authlib_is_let_in_by_device_refreshes_and_revokes() {
    let mut host = Host::start().await;
    let mut judge = Command::new(tools::python("authlib", "python"));
    // It takes plain HTTP only when it is told.
    judge.arg(tools::source("python/login.py")).env("AUTHLIB_INSECURE_TRANSPORT", "1").current_dir(Path::new("/"));
    host.serves(judge).await;
    host.has_seen_off(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x_oauth2_is_let_in_by_device_and_by_code_refreshes_and_revokes() {
    let mut host = Host::start().await;
    host.serves(Command::new(tools::go())).await;
    host.has_seen_off(4).await;
}
