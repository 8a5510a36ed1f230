//! What the operator writes to the API server for each job, by the API server's audit log, if that can be read.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::release::Release;
use crate::statistics::count;

/// Where `tests/cluster` has its API server write.
const AUDIT_LOG: &str = "/var/lib/ckrv-cluster/log/audit.log";

/// Counts from its beginning on.
pub struct Writes {
    user: String,
    log: PathBuf,
    from: u64,
}

impl Writes {
    pub fn begin(release: &Release) -> Self {
        let log = std::env::var("CKRV_AUDIT_LOG").map_or_else(|_| AUDIT_LOG.into(), PathBuf::from);
        let from = std::fs::metadata(&log).map_or(0, |meta| meta.len());
        Self { user: format!("system:serviceaccount:{}:ckrv-operator", release.jobs.namespace), log, from }
    }

    pub fn print(self, jobs: usize) {
        let Some(writes) = self.counted().filter(|writes| !writes.is_empty()) else {
            println!("  writes of the operator: none of {} is told in {}", self.user, self.log.display());
            return;
        };
        let all: u64 = writes.values().sum();
        let told: Vec<String> = writes.iter().map(|(what, number)| format!("{what} {number}")).collect();
        println!(
            "  writes of the operator for a job, Events and Lease apart: {:.2} (bar: 6); for {jobs} jobs: {}",
            count(all) / count(jobs as u64),
            told.join(", ")
        );
    }

    /// By verb and kind.
    fn counted(&self) -> Option<BTreeMap<String, u64>> {
        let mut file = std::fs::File::open(&self.log).ok()?;
        file.seek(SeekFrom::Start(self.from)).ok()?;
        let mut writes = BTreeMap::new();
        for line in std::io::BufReader::new(file).lines() {
            let Ok(event) = serde_json::from_str::<Value>(&line.ok()?) else { continue };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (verb, object) = (text(&event["verb"]), &event["objectRef"]);
            let resource = text(&object["resource"]);
            let is_counted = text(&event["user"]["username"]) == self.user
                && matches!(&*verb, "create" | "update" | "patch" | "delete" | "deletecollection")
                && !matches!(&*resource, "events" | "leases");
            if is_counted {
                let part = object["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
                *writes.entry(format!("{verb} {resource}{part}")).or_default() += 1;
            }
        }
        Some(writes)
    }
}
