//! What plugins share with each other, and `ao` itself does not need.

pub mod local;
