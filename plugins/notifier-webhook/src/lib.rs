//! Posts signed notifications to an HTTP address.
