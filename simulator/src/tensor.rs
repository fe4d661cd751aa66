//! Boxes of activation tensors `[N, C, H, W]`, row-major.

use rayon::prelude::*;
use scnn_isa::plane::{Rect, Span};

/// The positions `rect` of one image and channel, row-major.
pub fn gather(
    values: &[i16],
    [_, channels, h, w]: [u32; 4],
    n: u32,
    c: u32,
    rect: Rect,
) -> Vec<i16> {
    let plane = (n as usize * channels as usize + c as usize) * h as usize;
    rect.y
        .iter()
        .flat_map(|y| {
            let row = (plane + y as usize) * w as usize;
            values[row + rect.x.begin as usize..row + rect.x.end as usize]
                .iter()
                .copied()
        })
        .collect()
}

/// Puts the positions `rect` of one image and channel in their places in its plane, whose rows have `width` values.
pub fn scatter(plane: &mut [i16], width: u32, rect: Rect, data: &[i16]) {
    let count = rect.x.len() as usize;
    for (y, data) in rect.y.iter().zip(data.chunks(count.max(1))) {
        let row = y as usize * width as usize + rect.x.begin as usize;
        plane[row..row + count].copy_from_slice(data);
    }
}

/// Share of non-zeros in a range of channels.
pub fn density(values: &[i16], [n, c, h, w]: [u32; 4], channels: Span) -> f64 {
    let plane = (h * w) as usize;
    let per_image = c as usize * plane;
    let range = channels.begin as usize * plane..channels.end as usize * plane;
    let shares =
        (0..n as usize).map(|image| nonzero_share(&values[image * per_image..][range.clone()]));
    shares.sum::<f64>() / f64::from(n.max(1))
}

/// Share of non-zeros, 0..=1.
fn nonzero_share(values: &[i16]) -> f64 {
    let nonzero = values
        .par_chunks(1 << 16)
        .map(|chunk| chunk.iter().filter(|v| **v != 0).count())
        .sum::<usize>();
    nonzero as f64 / values.len().max(1) as f64
}
