//! How long the CLI takes from its start to a request on the wire, next to the start of the smallest program there is.

use std::process::Stdio;
use std::time::Instant;

use ckrv_tests::stack::program;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::statistics::percentile;

const RUNS: usize = 100;

pub async fn measure() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let begun = Instant::now();
        let mut child = Command::new(program("ckrv"))
            .args(["list"])
            .env("CKRV_SERVER", &server)
            .env("CKRV_TOKEN", "ck_live_x")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (mut connection, _) = listener.accept().await.unwrap();
        connection.read_exact(&mut [0; 4]).await.unwrap();
        ours.push(begun.elapsed().as_secs_f64() * 1e3);
        child.kill().await.unwrap();

        let begun = Instant::now();
        Command::new("true").status().await.unwrap();
        floor.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let (p50, p99, floor) = (percentile(&mut ours, 0.5), percentile(&mut ours, 0.99), percentile(&mut floor, 0.5));
    println!(
        "  exec to request written: p50 {p50:.1} ms, p99 {p99:.1} ms (bar: 10 ms); {:.1} x starting `true`",
        p50 / floor
    );
}
