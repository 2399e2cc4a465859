//! Opens nothing: for machines where nobody looks in.
