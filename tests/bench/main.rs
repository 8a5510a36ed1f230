//! The figures that need no cluster, with the floor beside them in the same run. Prints ratios; fails nothing.
//!
//! `cargo bench -p ckrv-tests [-- ROW…]` with release binaries in place (`make bench` sees to that). With `emit` as its first
//! argument this program is the agent that the log rows run: it prints lines that carry the time of their writing.

#![expect(clippy::print_stdout, reason = "a measurement's result is what it prints")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends here, with the reason")]

mod command;
mod crowd;
mod emit;
mod floor;
mod logins;
mod silence;
mod states;
mod statistics;
mod streams;
mod submissions;

use ckrv_tests::stack::{Options, Stack};

type Row = (&'static str, fn(&tokio::runtime::Runtime));

const ROWS: &[Row] = &[
    ("command", |runtime| runtime.block_on(command::measure())),
    ("states", |runtime| runtime.block_on(states::measure())),
    ("silence", |runtime| runtime.block_on(silence::measure())),
    ("submissions", |runtime| runtime.block_on(submissions::measure())),
    ("logins", |runtime| runtime.block_on(logins::measure())),
    ("throughput", |runtime| runtime.block_on(streams::throughput())),
    ("latency", |runtime| runtime.block_on(streams::latency())),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "emit") {
        return emit::run(&arguments[1..]);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("ckrv {} on {} processors", env!("CARGO_PKG_VERSION"), std::thread::available_parallelism().unwrap());
    for (name, measure) in ROWS {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            println!("\n{name}");
            measure(&runtime);
        }
    }
}

/// A stack as production has it: a database that survives power cuts, no limit on requests in the way.
async fn stack(slots: u32) -> Stack {
    let unlimited = |name| (name, "100000000".to_owned());
    Stack::with(Options {
        slots,
        server: vec![
            unlimited("CKRV_RATE_PER_ADDRESS"),
            unlimited("CKRV_RATE_PER_KEY"),
            ("CKRV_LOG", "warn".to_owned()),
        ],
        runner: vec![("CKRV_LOG", "warn".to_owned())],
        own_postgres: true,
        durable: true,
        at: None,
    })
    .await
}
