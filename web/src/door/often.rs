//! How often a request may come.

use std::{sync::Arc, time::Duration};

use axum::Router;
use tower_governor::{
    GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor,
};

use crate::Api;

/// Requests in a row; after them one each [`REFILL`].
pub(super) const BURST: u32 = 120;
/// How soon another request may follow a burst.
const REFILL: Duration = Duration::from_millis(100);

/// All requests come by one tunnel, so they share one bucket; but a busy provider, or somebody who plays one, keeps no
/// human from his page, nor the other way round.
pub(super) fn not_too_often(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    let often = GovernorConfigBuilder::default()
        .key_extractor(GlobalKeyExtractor)
        .period(REFILL)
        .burst_size(BURST)
        .finish();
    match often {
        Some(often) => router.layer(GovernorLayer::new(often)),
        None => router,
    }
}
