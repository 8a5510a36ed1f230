//! What the organization may use, and what it has used.

use ckrv_types::quota::{Quota, UsageBy, UsageReport};

use crate::{Client, ClientError};

impl Client {
    /// Its tier and limits, and how much of each is used.
    pub async fn quota(&self) -> Result<Quota, ClientError> {
        self.transport.json(self.transport.get(["v1", "quota"]), "quotas").await
    }

    /// What a month (`YYYY-MM`; none: this one) has used.
    pub async fn usage(&self, month: Option<&str>, by: UsageBy) -> Result<UsageReport, ClientError> {
        let request = self.transport.get(["v1", "usage"]).query(&[("month", month)]).query(&[("by", by)]);
        self.transport.json(request, "a report of usage").await
    }
}
