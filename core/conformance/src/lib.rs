//! One conformance suite per plugin slot of ao.
