//! ao
fn main() {}
