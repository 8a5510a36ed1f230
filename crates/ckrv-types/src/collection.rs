//! Lists that come in pages.

use serde::{Deserialize, Serialize};

/// One page of a list, newest first. `next` is opaque; hand it back as `?cursor=` for the following page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    pub items: Vec<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
