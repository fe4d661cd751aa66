//! A table of layers: extents and densities, and no weights.

use thiserror::Error;

/// A convolution, or a fully connected layer with a plane of 1 x 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name.
    pub name: String,
    /// Images, input channels, rows and columns of the input, with its padding.
    pub input: [u32; 4],
    /// Output channels.
    pub outputs: u32,
    /// Rows and columns of the kernel.
    pub kernel: [u32; 2],
    /// Steps along rows and columns.
    pub stride: [u32; 2],
    /// Distances of taps along rows and columns.
    pub dilation: [u32; 2],
    /// Groups.
    pub groups: u32,
    /// Share of weights that are not zero, if the table says.
    pub weights: Option<f64>,
    /// Share of activations that are not zero, if the table says.
    pub activations: Option<f64>,
}

/// Layers in their order.
pub type Table = Vec<Row>;

/// Why a text is no table of layers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", line.map_or_else(String::new, |line| format!("line {line}: ")))]
pub struct BadTable {
    /// Line of the text, from 1.
    pub line: Option<usize>,
    /// The fault.
    pub reason: String,
}

impl Row {
    /// Multiplications of a dense machine, or the reason that the layer is impossible.
    ///
    /// # Errors
    /// Extents that are zero, that do not fit each other, or whose product is beyond 64 bits.
    pub fn check(&self) -> Result<u64, String> {
        let Self {
            input: [n, c, h, w],
            outputs,
            kernel,
            stride,
            dilation,
            groups,
            ..
        } = *self;
        let extents = [n, c, h, w, outputs, groups, kernel[0], kernel[1]];
        let steps = [stride, dilation].concat();
        if extents.iter().chain(&steps).any(|&extent| extent == 0) {
            return Err("an extent is zero".to_owned());
        }
        if c % groups != 0 || outputs % groups != 0 {
            return Err(format!(
                "{c} and {outputs} channels are no multiples of {groups} groups"
            ));
        }
        let mut product = u64::from(n);
        for (axis, plane) in [h, w].into_iter().enumerate() {
            let window = u64::from(dilation[axis]) * u64::from(kernel[axis] - 1) + 1;
            let room = u64::from(plane).checked_sub(window).ok_or_else(|| {
                format!("a filter of {window} does not fit into an input of {plane}")
            })?;
            let positions = room / u64::from(stride[axis]) + 1;
            product = product.saturating_mul(positions);
        }
        let factors = [c / groups, outputs, kernel[0], kernel[1]];
        let product = factors
            .iter()
            .fold(product, |a, &b| a.saturating_mul(b.into()));
        if product == u64::MAX {
            return Err("the layer has more than 2^64 multiplications".to_owned());
        }
        for share in [self.weights, self.activations].into_iter().flatten() {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("a density of {share} is not from 0 to 1"));
            }
        }
        Ok(product)
    }
}
