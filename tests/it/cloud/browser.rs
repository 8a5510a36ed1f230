//! The browser of the machine: it opens for whoever sits there, and never for a script.

use std::os::unix::fs::PermissionsExt as _;

use ckrv_tests::cli::Said;
use ckrv_tests::stack::START;
use ckrv_tests::terminal::{CTRL_C, Terminal};
use ckrv_tests::wait::wait_for;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;

use super::{Desk, LOGIN};

/// What the program that opens addresses was told, an address a line.
///
/// It tells by a pipe that it has from ckrv, as ckrv has it: the pipe's end says that neither can tell anything more.
struct Opened(pipe::Receiver);

impl Opened {
    async fn all(mut self) -> Vec<String> {
        let mut told = String::new();
        let reading = self.0.read_to_string(&mut told);
        tokio::time::timeout(START, reading).await.expect("nobody holds the pipe for long").unwrap();
        told.lines().map(ToOwned::to_owned).collect()
    }
}

impl Desk {
    /// A machine with a screen, and a browser that only says what it was to open.
    async fn with_browser() -> Self {
        let mut desk = Self::new().await;
        let folder = desk.home.path().join("bin");
        std::fs::create_dir(&folder).unwrap();
        for opener in ["xdg-open", "open"] {
            std::fs::write(folder.join(opener), "#!/bin/sh\necho \"$1\" >&3\n").unwrap();
            std::fs::set_permissions(folder.join(opener), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        desk.variables.push(("PATH", format!("{}:{path}", folder.display())));
        desk.variables.push(("DISPLAY", ":0".to_owned()));
        desk
    }

    /// `ckrv cloud login` with these options, its streams redirected as a shell does it.
    fn sitting(&self, options: &[&str], redirected: &str) -> (Command, Opened) {
        let fifo = self.home.path().join("opened");
        // One of a login before.
        let _ = std::fs::remove_file(&fifo);
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let opened = Opened(pipe::OpenOptions::new().open_receiver(&fifo).unwrap());
        let server = self.stack.server_url();
        let login = self.command(&[&["cloud", "login", "--server", &server], options].concat());
        let login = login.as_std();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 3>opened; exec \"$@\" {redirected}"), "sh"]);
        shell.arg(login.get_program()).args(login.get_args()).current_dir(self.home.path()).env_clear();
        shell.envs(login.get_envs().filter_map(|(name, value)| Some((name, value?))));
        (shell, opened)
    }
}

/// The address after `open` that was printed.
fn printed(said: &Said) -> String {
    let line = said.out.lines().find_map(|line| line.trim_end().strip_prefix("open "));
    line.unwrap_or_else(|| panic!("it prints no address: {said}")).trim().to_owned()
}

#[tokio::test]
async fn a_login_at_a_terminal_opens_the_browser_at_the_address_that_it_prints() {
    if !Terminal::is_to_be_had() {
        return;
    }
    let desk = Desk::with_browser().await;
    let (command, opened) = desk.sitting(&[], "");
    let terminal = Terminal::run(&command, LOGIN).await;
    desk.decide("approved").await;
    let said = terminal.ends(&["cloud", "login"]).await.exits(0).prints(&["confirm ", "signed in to"]);
    let opened = opened.all().await;
    assert_eq!(opened.len(), 1, "{opened:?}");
    // With the code in it, which is to be compared and confirmed there.
    let (page, code) = opened[0].split_once("?code=").expect("the page knows the code");
    assert_eq!(page, printed(&said));
    assert!(said.out.contains(code), "{code}: {said}");

    let (command, opened) = desk.sitting(&["--web"], "");
    let mut terminal = Terminal::run(&command, LOGIN).await;
    terminal.shows("Ctrl-C gives up").await;
    terminal.types(CTRL_C).await;
    let said = terminal.ends(&["cloud", "login", "--web"]).await.exits(130);
    assert_eq!(opened.all().await, [printed(&said)]);
}

#[tokio::test]
async fn a_login_whose_user_is_not_at_the_terminal_or_wants_no_browser_opens_none() {
    if !Terminal::is_to_be_had() {
        return;
    }
    let mut desk = Desk::with_browser().await;
    for way in [&[][..], &["--web"]] {
        for (options, redirected) in
            [(&[][..], "</dev/null >/dev/null 2>said"), (&[], "</dev/null"), (&[], "2>said"), (&["--no-browser"], "")]
        {
            opens_none(&desk, &[way, options].concat(), redirected).await;
        }
    }
    for (name, value) in [("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22"), ("SSH_TTY", "/dev/pts/0"), ("DISPLAY", "")] {
        desk.variables.push((name, value.to_owned()));
        opens_none(&desk, &[], "").await;
        desk.variables.pop();
    }
}

/// Begins a login at a terminal but for what is `redirected`, and gives it up when the browser would have been opened.
async fn opens_none(desk: &Desk, options: &[&str], redirected: &str) {
    const WAITS: &str = "Ctrl-C gives up";
    let (command, opened) = desk.sitting(options, redirected);
    let mut terminal = Terminal::run(&command, LOGIN).await;
    if redirected.contains("2>said") {
        let said = desk.home.path().join("said");
        let waits = async || std::fs::read_to_string(&said).is_ok_and(|said| said.contains(WAITS)).then_some(());
        wait_for("it says that it waits", LOGIN, waits).await;
        std::fs::remove_file(&said).unwrap();
    } else {
        terminal.shows(WAITS).await;
    }
    terminal.types(CTRL_C).await;
    terminal.ends(&["cloud", "login"]).await.exits(130);
    assert_eq!(opened.all().await, [""; 0], "{options:?} {redirected}");
}
