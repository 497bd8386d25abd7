//! Proofs that the processor has certain instructions.
//!
//! Only detection makes such a token, so a function that takes one may use the instructions it stands for.

#[cfg(target_arch = "x86_64")]
use pulp::x86::V4;

/// Defines a token of no size for some instructions.
#[cfg(target_arch = "x86_64")]
macro_rules! token {
    ($(#[$doc:meta])* $name:ident: $($feature:tt)+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name(());

        impl $name {
            /// The token, if this processor has the instructions.
            #[must_use]
            pub fn detect() -> Option<Self> {
                let found = true $(&& is_x86_feature_detected!($feature))+;
                found.then_some(Self(()))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
token! {
    /// AVX2, FMA and F16C: vectors of 32 bytes.
    Avx2: "avx2" "fma" "f16c"
}

#[cfg(target_arch = "x86_64")]
token! {
    /// AVX-VNNI: dot products in vectors of 32 bytes.
    AvxVnni: "avxvnni"
}

#[cfg(target_arch = "x86_64")]
token! {
    /// AVX-512 F, BW, VL and VNNI: vectors of 64 bytes and their dot products of bytes.
    Avx512Vnni: "avx512f" "avx512bw" "avx512vl" "avx512vnni"
}

#[cfg(target_arch = "x86_64")]
token! {
    /// AVX-512 F, BW, VL and BF16: vectors of 64 bytes and their dot products of bf16.
    Avx512Bf16: "avx512f" "avx512bw" "avx512vl" "avx512bf16"
}

/// Whether one instruction makes a vector of f32 from f16.
#[must_use]
pub fn converts_f16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return V4::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
