//! Progress through the layers of a network, as compiler and simulator report it.

/// Receives the layer that is being worked on. Several threads call it at once, so layers come in no order.
pub trait Progress: Sync {
    /// Work on a layer begins: the `number`th of `count`, from 1.
    fn layer(&self, number: usize, count: usize, name: &str);
}

/// No receiver.
impl Progress for () {
    fn layer(&self, _number: usize, _count: usize, _name: &str) {}
}
