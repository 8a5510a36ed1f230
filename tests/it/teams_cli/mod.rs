//! Teams as their members have them at a terminal: people with homes of their own, who are let in at the real pages.

mod audit;
mod credentials;
mod keys;
mod people;
mod projects;
mod terminal;
mod usage;

use std::path::PathBuf;
use std::process::Stdio;

use ckrv_tests::cli::Said;
use ckrv_tests::people as pages;
use ckrv_tests::stack::{JOB, Options, Stack, program, restrict};
use ckrv_types::identity::Role;
use ckrv_types::{OrgId, UserId};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use url::Url;

/// The organization that people of a team are in.
const TEAM: &str = "tests";

struct Team {
    stack: Stack,
}

/// Somebody with a home and a login.
struct Person {
    home: PathBuf,
    user: UserId,
}

impl Team {
    /// A control plane on which people may make organizations, and nobody yet.
    async fn new() -> Self {
        Self::with(0).await
    }

    /// The same with places for jobs.
    async fn with(slots: u32) -> Self {
        let server = vec![("CKRV_ORG_CREATION", "anyone".to_owned())];
        Self { stack: Stack::with(Options { slots, server, ..Options::default() }).await }
    }

    async fn sql(&self) -> PgConnection {
        PgConnection::connect(self.stack.superuser_url().expose()).await.unwrap()
    }

    /// A member of the team who is signed in.
    async fn member(&self, login: &str, role: Role) -> Person {
        self.person(login, self.stack.keys.org, role).await
    }

    /// Somebody who is signed in, and belongs to another organization only.
    async fn stranger(&self, login: &str) -> Person {
        let org = OrgId::new();
        sqlx::query(
            "with o as (insert into orgs (id, name) values ($1, $2) returning id)
             insert into projects (id, org_id, name) select gen_random_uuid(), id, 'default' from o",
        )
        .bind(org.uuid())
        .bind(format!("of-{login}"))
        .execute(&mut self.sql().await)
        .await
        .unwrap();
        self.person(login, org, Role::Owner).await
    }

    async fn person(&self, login: &str, org: OrgId, role: Role) -> Person {
        let user = pages::add(&mut self.sql().await, org, login, role).await;
        let home = self.stack.home.path().join(login);
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("key"), "5a".repeat(32)).unwrap();
        restrict(&home.join("key"));
        let person = Person { home, user };
        self.sign_in(&person, login).await;
        person
    }

    async fn sign_in(&self, person: &Person, login: &str) {
        let server: Url = self.stack.server_url().parse().unwrap();
        let mut command = Self::command(person, &["cloud", "login", "--server", server.as_str()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let code = loop {
            let line = said.next_line().await.unwrap().expect("it prints a code");
            if let Some(code) = line.strip_prefix("confirm ") {
                break code.to_owned();
            }
        };
        let mut browser = pages::sign_in(&server, login).await;
        pages::approve(&mut browser, &server, &code).await;
        let mut rest = String::new();
        said.into_inner().read_to_string(&mut rest).await.unwrap();
        assert!(child.wait().await.unwrap().success(), "{rest}");
    }

    fn command(person: &Person, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("ckrv"));
        command.args(arguments).env_clear().current_dir(&person.home).stdin(Stdio::null()).kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", &person.home);
        command.env("CKRV_HOME", person.home.join("ckrv")).env("CKRV_KEY_FILE", person.home.join("key"));
        command.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
        command
    }

    async fn says(&self, person: &Person, arguments: &[&str]) -> Said {
        let output = tokio::time::timeout(JOB, Self::command(person, arguments).output()).await;
        Said::new(arguments, output.expect("it ends").unwrap())
    }

    /// The same with something on stdin.
    async fn hears(&self, person: &Person, arguments: &[&str], stdin: &str) -> Said {
        let mut command = Self::command(person, arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
        let output = tokio::time::timeout(JOB, child.wait_with_output()).await.expect("it ends").unwrap();
        Said::new(arguments, output)
    }

    /// What a pipeline says that has nothing but this key.
    async fn key_says(&self, key: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(program("ckrv"));
        command.args(arguments).env("CKRV_HOME", self.stack.home.path().join("pipeline")).stdin(Stdio::null());
        command.env("CKRV_SERVER", self.stack.server_url()).env("CKRV_TOKEN", key).kill_on_drop(true);
        let output = tokio::time::timeout(JOB, command.output()).await;
        Said::new(arguments, output.expect("it ends").unwrap())
    }
}
