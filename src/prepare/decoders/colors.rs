//! Colours of other models as RGB, one pixel at a time.

/// A value with this opacity over white.
pub(super) fn blend(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// The product of two parts of 255.
pub(super) fn multiply(a: u8, b: u8) -> u8 {
    ((u16::from(a) * u16::from(b) + 127) / 255) as u8
}

/// 16 bits to 8, rounded.
pub(super) fn narrow(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

/// Cyan, magenta, yellow and black inks on white paper.
pub(super) fn cmyk([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    [cyan, magenta, yellow].map(|ink| multiply(255 - ink, 255 - black))
}

/// ITU-R BT.601 at full range, as in JPEG files (JFIF 1.02).
pub(super) fn ycbcr(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    // 16 bits of fraction, as libjpeg has them.
    let (luma, blue, red) = (
        i32::from(luma) << 16,
        i32::from(blue) - 128,
        i32::from(red) - 128,
    );
    [
        luma + 91_881 * red,
        luma - 22_554 * blue - 46_802 * red,
        luma + 116_130 * blue,
    ]
    .map(|value| ((value + (1 << 15)) >> 16).clamp(0, 255) as u8)
}

/// CIE L*a*b* under D50 to sRGB (ISO 15076-1, annex D; IEC 61966-2-1). Lightness is 0 to 100.
pub(super) fn lab(lightness: f32, a: f32, b: f32) -> [u8; 3] {
    let middle = (lightness + 16.0) / 116.0;
    let inverse = |value: f32| {
        if value > 6.0 / 29.0 {
            value.powi(3)
        } else {
            (value - 4.0 / 29.0) * 108.0 / 841.0
        }
    };
    let x = 0.964_22 * inverse(middle + a / 500.0);
    let y = inverse(middle);
    let z = 0.825_21 * inverse(middle - b / 200.0);
    // From D50, adapted to D65 by Bradford's method.
    [
        3.133_856 * x - 1.616_867 * y - 0.490_615 * z,
        -0.978_768 * x + 1.916_142 * y + 0.033_454 * z,
        0.071_945 * x - 0.228_991 * y + 1.405_243 * z,
    ]
    .map(|linear: f32| {
        let value = if linear <= 0.003_131 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        (value * 255.0).round() as u8
    })
}
