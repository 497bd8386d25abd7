//! The name of the instruction set that products run on.

/// This processor's best instruction set that has a kernel: `AVX-512`, `AVX-VNNI`, `AVX2`, or the name of the architecture.
#[must_use]
pub fn best() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512bw") {
            return "AVX-512";
        } else if is_x86_feature_detected!("avxvnni") {
            return "AVX-VNNI";
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    std::env::consts::ARCH
}
