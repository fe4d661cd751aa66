//! Progress through the layers of a network: told by whatever walks them, the compiler and the simulator alike.

/// Receives the layer that is being worked on. Several threads call it at once, so layers come in no order.
pub trait Progress: Sync {
    /// Work on a layer begins: the `number`th of `count`, from 1.
    fn layer(&self, number: usize, count: usize, name: &str);
}

/// Nobody.
impl Progress for () {
    fn layer(&self, _number: usize, _count: usize, _name: &str) {}
}
