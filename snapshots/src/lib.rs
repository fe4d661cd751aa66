//! The snapshot suite over everything that people read; the tests are in `tests/`, what they expect beside it, one
//! folder for each kind of text.
