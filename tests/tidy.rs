//! The rules of the source tree, as tests.

#[test]
fn placeholder() {}
