//! What is done with a compiled model.
