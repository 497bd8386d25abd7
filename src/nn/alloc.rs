//! Memory for the results of products: up to hundreds of megabytes, soon freed.

#![allow(
    unsafe_code,
    reason = "some advice of `madvise` changes what is in the memory; this one does not"
)]

/// Smaller allocations gain nothing from huge pages.
#[cfg(target_os = "linux")]
const MIN_HUGE_BYTES: usize = 4 << 20;

/// `len` zeros. Linux is asked to back many of them by pages of 2 MiB: one page fault then replaces 512.
pub fn zeroed(len: usize) -> Vec<f32> {
    let zeros = vec![0.0; len];
    #[cfg(target_os = "linux")]
    if size_of_val(&*zeros) >= MIN_HUGE_BYTES {
        use rustix::mm::{Advice, madvise};
        let page = rustix::param::page_size();
        let start = zeros.as_ptr().cast_mut().cast::<u8>();
        let skipped = start.align_offset(page);
        let length = (size_of_val(&*zeros) - skipped) / page * page;
        // SAFETY: the range is that of whole pages within `zeros`, and stays as it is.
        let advised = unsafe { madvise(start.add(skipped).cast(), length, Advice::LinuxHugepage) };
        // Without it the program is only slower.
        advised.ok();
    }
    zeros
}
