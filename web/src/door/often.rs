//! How often a request may come.

use std::{sync::Arc, time::Duration};

use ao_core::slots::AccessId;
use axum::{Router, http::Request};
use tower_governor::{
    GovernorError, GovernorLayer,
    governor::GovernorConfigBuilder,
    key_extractor::{GlobalKeyExtractor, KeyExtractor},
};

use crate::Api;

/// Requests of strangers in a row; after them one each [`REFILL`].
pub(super) const BURST: u32 = 120;
/// How soon another request may follow a burst.
const REFILL: Duration = Duration::from_millis(100);
/// Requests in a row of one who is let in; after them one each [`OWN_REFILL`]: a page that is open asks for each of its
/// parts that moves.
pub(super) const OWN_BURST: u32 = 200;
/// How soon another of his may follow.
const OWN_REFILL: Duration = Duration::from_millis(20);

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

/// Whoever is let in has a bucket of his own.
pub(super) fn each_not_too_often(router: Router<Arc<Api>>) -> Router<Arc<Api>> {
    let often = GovernorConfigBuilder::default()
        .key_extractor(ByAccess)
        .period(OWN_REFILL)
        .burst_size(OWN_BURST)
        .finish();
    match often {
        Some(often) => router.route_layer(GovernorLayer::new(often)),
        None => router,
    }
}

/// By what the caller came in, as the admission noted it.
#[derive(Debug, Clone, Copy)]
struct ByAccess;

impl KeyExtractor for ByAccess {
    type Key = Option<AccessId>;

    fn extract<T>(&self, request: &Request<T>) -> Result<Self::Key, GovernorError> {
        Ok(request.extensions().get::<AccessId>().copied())
    }
}

/// Those who are refused: they share a bucket, so that nobody tries tokens for long.
#[derive(Clone)]
pub(crate) struct Strangers(Arc<dyn Fn() -> bool + Send + Sync>);

impl Strangers {
    pub(super) fn new() -> Self {
        let often = GovernorConfigBuilder::default()
            .key_extractor(GlobalKeyExtractor)
            .period(REFILL)
            .burst_size(BURST)
            .finish();
        Self(Arc::new(move || {
            often.as_ref().is_none_or(|often| often.limiter().check_key(&()).is_ok())
        }))
    }

    /// Whether another may be told that it is not let in.
    pub(crate) fn may_knock(&self) -> bool {
        (self.0)()
    }
}
