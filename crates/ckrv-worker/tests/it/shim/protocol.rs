//! The socket between shim and orchestrator.

use super::*;

/// A socket, and a shim's frame for it.
fn listen() -> (TempDir, PathBuf, UnixListener) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shim.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (folder, path, listener)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind], payload].concat()
}

fn hello(protocol: u32) -> Vec<u8> {
    frame(0, format!(r#"{{"type":"hello","protocol":{protocol},"version":"9.9.9"}}"#).as_bytes())
}

#[tokio::test]
async fn a_shim_waits_for_its_orchestrators_socket() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("late.sock");
    let mut shim = tokio::process::Command::new(WORKER);
    let mut shim = shim.args(["shim", "--socket"]).arg(&path).env_clear().kill_on_drop(true).spawn().unwrap();
    // It has tried in vain at least once when it sleeps between two tries; whenever it comes, it is served.
    let listener = UnixListener::bind(&path).unwrap();
    let uid = nix::unistd::getuid().as_raw();
    let mut session = Session::accept(&listener, Some(uid), folder.path(), LIMIT).await.unwrap();
    session.run(&order(&["/bin/echo", "hi"])).await.unwrap();
    let heard = Heard::all_of(&mut session).await;
    assert_eq!((heard.text().as_str(), heard.code()), ("hi\n", 0));
    session.finish().await;
    assert!(tokio::time::timeout(LIMIT, shim.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_door_is_for_its_user_and_group_and_for_one_shim() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("shim.sock");
    // What is left of others does not hold it up.
    fs::write(&path, "").unwrap();
    fs::write(folder.path().join("shim.sock.new"), "").unwrap();
    let door = Door::open(&path, nix::unistd::getuid().as_raw()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut first = UnixStream::connect(&path).await.unwrap();
    first.write_all(&hello(2)).await.unwrap();
    let _session = door.admit(folder.path(), LIMIT).await.unwrap();
    let mut second = UnixStream::connect(&path).await.unwrap();
    let refused = tokio::time::timeout(LIMIT, second.read(&mut [0])).await.unwrap();
    assert_eq!(refused.unwrap(), 0, "the second one was not hung up on");
}

#[tokio::test]
async fn another_version_is_refused_with_a_word_to_both() {
    let (folder, path, listener) = listen();
    let mut shim = UnixStream::connect(&path).await.unwrap();
    shim.write_all(&hello(99)).await.unwrap();
    let Err(error) = Session::accept(&listener, None, folder.path(), LIMIT).await else { panic!("accepted") };
    assert!(matches!(&error, SessionError::Version { theirs: 99, .. }), "{error}");
    assert!(error.to_string().contains("9.9.9"), "{error}");
    let mut answer = String::new();
    shim.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("refused") && answer.contains("protocol 99"), "{answer}");
}

#[tokio::test]
async fn another_user_is_hung_up_on() {
    let (folder, path, listener) = listen();
    let _shim = UnixStream::connect(&path).await.unwrap();
    let other = nix::unistd::getuid().as_raw() + 1;
    let limit = Duration::from_millis(200);
    let Err(error) = Session::accept(&listener, Some(other), folder.path(), limit).await else { panic!("accepted") };
    assert!(matches!(error, SessionError::NoShim(_)), "{error}");
}

#[tokio::test]
async fn a_shim_that_breaks_the_protocol_is_lost_and_costs_nothing() {
    let exited = r#"{"type":"exited","code":0,"signal":null,"oom_killed":false}"#;
    let breaches: [Vec<u8>; 6] = [
        frame(0, b"nonsense"),
        frame(9, b""),
        vec![0xff; 64],
        [frame(0, exited.as_bytes()), frame(1, b"said after death")].concat(),
        [frame(0, exited.as_bytes()), frame(0, exited.as_bytes())].concat(),
        frame(0, br#"{"type":"done"}"#),
    ];
    for breach in breaches {
        let (folder, path, listener) = listen();
        let mut shim = UnixStream::connect(&path).await.unwrap();
        shim.write_all(&hello(2)).await.unwrap();
        let mut session = Session::accept(&listener, None, folder.path(), LIMIT).await.unwrap();
        // A bundle that was never begun, and one that does not end.
        shim.write_all(&frame(3, b"piece")).await.unwrap();
        shim.write_all(&[frame(0, br#"{"type":"bundle_begun"}"#), frame(3, b"piece")].concat()).await.unwrap();
        shim.write_all(&breach).await.unwrap();
        let heard = Heard::all_of(&mut session).await;
        assert!(heard.lost.is_some(), "{breach:?}");
        assert!(session.finish().await.is_empty());
    }
}
