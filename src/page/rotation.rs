//! Quarter turns of a page.

use image::{RgbImage, imageops};
use serde::{Deserialize, Serialize};

/// A turn of a page with the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Rotation {
    #[default]
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

impl Rotation {
    /// All of them, by their quarters.
    pub const ALL: [Self; 4] = [Self::None, Self::Quarter, Self::Half, Self::ThreeQuarters];

    /// So many quarter turns, of which four are none.
    #[must_use]
    pub fn of_quarters(quarters: usize) -> Self {
        Self::ALL[quarters % 4]
    }

    /// The number of quarters.
    #[must_use]
    pub fn quarters(self) -> usize {
        self as usize
    }

    /// The turn in degrees.
    #[must_use]
    pub fn degrees(self) -> u16 {
        90 * self.quarters() as u16
    }

    /// This turn and then another one.
    #[must_use]
    pub fn then(self, other: Self) -> Self {
        Self::of_quarters(self.quarters() + other.quarters())
    }

    /// The turn that takes this one back.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::of_quarters(4 - self.quarters())
    }

    /// A page, turned.
    #[must_use]
    pub fn turn(self, page: &RgbImage) -> RgbImage {
        match self {
            Self::None => page.clone(),
            Self::Quarter => imageops::rotate90(page),
            Self::Half => imageops::rotate180(page),
            Self::ThreeQuarters => imageops::rotate270(page),
        }
    }

    /// (width, height) of a page of this size once it is turned.
    #[must_use]
    pub fn turn_size(self, (width, height): (u32, u32)) -> (u32, u32) {
        match self {
            Self::None | Self::Half => (width, height),
            Self::Quarter | Self::ThreeQuarters => (height, width),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_add_up() {
        for first in Rotation::ALL {
            assert_eq!(first.then(first.reversed()), Rotation::None);
            for second in Rotation::ALL {
                let degrees = (first.degrees() + second.degrees()) % 360;
                assert_eq!(first.then(second).degrees(), degrees);
            }
        }
        // With the clock: what was on the left is above.
        let mut page = RgbImage::new(2, 2);
        page.get_pixel_mut(0, 1)[0] = 255;
        assert_eq!(Rotation::Quarter.turn(&page).get_pixel(0, 0)[0], 255);
    }
}
