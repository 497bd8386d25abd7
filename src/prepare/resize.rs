//! Resize.
/// Budget.
#[allow(missing_docs)]
pub struct PixelBudget {
    pub factor: u32,
    pub min_pixels: u64,
    pub max_pixels: u64,
}
