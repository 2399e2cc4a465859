//! The pages.

pub(crate) mod press;
