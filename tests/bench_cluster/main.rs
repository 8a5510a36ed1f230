//! The figures of a cluster, with the floor beside them in the same run. Prints ratios; fails nothing.
//!
//! `make bench-cluster`, with `KUBECONFIG` naming the cluster. The control plane is outside of it. Rows that want more pods than a
//! node runs have fake nodes (kwok), and this program plays their workers; the operator is a process here then. For the others
//! it is in the cluster, by the chart.

#![expect(clippy::print_stdout, reason = "a measurement's result is what it prints")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends here, with the reason")]

mod admitted;
mod burst;
#[path = "../e2e/cluster.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod cluster;
mod fake_nodes;
mod first_output;
#[path = "../../crates/ckrv-worker/tests/it/git_host.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod git_host;
mod logs;
mod many;
mod memory;
mod raw;
mod real;
#[path = "../e2e/release.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod release;
mod seen;
mod site;
#[path = "../bench/statistics.rs"]
mod statistics;
mod workers;
mod writes;

/// How much of everything.
pub struct Counts {
    /// Jobs one after the other.
    pub runs: usize,
    /// Jobs that wait behind full capacity.
    pub queued: usize,
    /// Jobs at once.
    pub burst: usize,
    /// Jobs that live at once.
    pub live: usize,
    /// Jobs at once whose pods really run.
    pub real: usize,
    /// One after the other.
    pub real_runs: usize,
    /// Lines of a job that streams, one a second.
    pub lines: usize,
}

const FULL: Counts = Counts { runs: 100, queued: 1000, burst: 1000, live: 5000, real: 100, real_runs: 20, lines: 300 };
/// To see that everything works; its figures say nothing.
const SMALL: Counts = Counts { runs: 5, queued: 30, burst: 60, live: 100, real: 4, real_runs: 2, lines: 30 };

type Row = (&'static str, fn(&tokio::runtime::Runtime, &Counts));

const ROWS: &[Row] = &[
    ("admitted", |runtime, counts| runtime.block_on(admitted::measure(counts))),
    ("burst", |runtime, counts| runtime.block_on(burst::measure(counts))),
    ("first-output", |runtime, counts| runtime.block_on(first_output::measure(counts))),
    ("many", |runtime, counts| runtime.block_on(many::measure(counts))),
    ("logs", |runtime, counts| runtime.block_on(logs::measure(counts))),
    ("memory", |runtime, counts| runtime.block_on(memory::measure(counts))),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (small, names): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|argument| argument == "--small");
    let counts = if small.is_empty() { FULL } else { SMALL };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("ckrv {} on {} processors", env!("CARGO_PKG_VERSION"), std::thread::available_parallelism().unwrap());
    for (name, measure) in ROWS {
        if names.is_empty() || names.iter().any(|argument| argument == name) {
            println!("\n{name}");
            measure(&runtime, &counts);
        }
    }
}
